"""A program that does what it can to the records of its own job, and to the runner that watches over it.

`python -I -S hostile.py BEATS SECONDS SEED...`: it writes the time into the file BEATS again and again for so many
seconds, and in between forges once for each seed. Whatever fails, fails: it goes on with the next. Once it has tried
all, there is a file BEATS.tried.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable

NAMES = ("claim.json", "program.json", "result.json", "cancel", "output.log")
TIMES: tuple[object, ...] = (
    0,
    0.0,
    -1,
    1e9,
    9e15,
    1e300,
    float("nan"),
    float("inf"),
    "now",
    None,
    True,
    [],
    {},
    10**400,
)
REASONS = ("exited", "cancelled", "runner_lost", "max_runtime_exceeded", "could_not_start", "refused", "", None, 7)


class Forger:
    """One random forgery after the other, in the directory of an attempt."""

    def __init__(self, directory: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.directory = directory

    def forge(self) -> None:
        """Do one thing."""
        ways: tuple[Callable[[], object], ...] = (
            self.write_result,
            self.write_result,
            self.write_result,
            self.write_anything,
            self.change_a_value,
            self.copy_from_another,
            self.remove,
            self.put_something_in_the_way,
            self.close_or_move_the_directory,
            self.set_times,
            self.hold_the_lock,
            self.kill_the_runner,
            self.leave_a_child_and_kill_the_runner,
        )
        self.chance.choice(ways)()

    def path(self, name: str | None = None) -> str:
        return os.path.join(self.directory, name or self.chance.choice(NAMES))

    def any_time(self) -> object:
        now = time.time()
        return self.chance.choice((*TIMES, now, now - 3600, now + 5 * 365 * 86_400, now + self.chance.uniform(-9, 9)))

    def put(self, name: str, content: bytes) -> None:
        draft = self.path(f".draft{self.chance.random()}")
        with open(draft, "wb") as file:
            file.write(content)
        os.rename(draft, self.path(name))

    def write_result(self) -> None:
        document = {
            "reason": self.chance.choice(REASONS),
            "started_at": self.any_time(),
            "finished_at": self.any_time(),
            "exit_code": self.chance.choice((0, 0, 0, 1, -9, None)),
            "error": None,
            "detail": None,
        }
        if self.chance.random() < 0.5:
            document["mac"] = self.chance.choice(("", "0" * 64, None, 7))
        self.put("result.json", json.dumps(document).encode())

    def write_anything(self) -> None:
        content = self.chance.choice(
            (
                b"",
                b"\0" * 100,
                b"{}",
                b"[]",
                b"null",
                b"7",
                b"[" * 30_000,
                b'{"mac": "\xff"}',
                b"x" * 100_000,
            )
        )
        self.put(self.chance.choice(NAMES), content)

    def change_a_value(self) -> None:
        name = self.chance.choice(("claim.json", "program.json"))
        with open(self.path(name), encoding="utf-8") as file:
            document = json.load(file)
        document[self.chance.choice(sorted(document))] = self.any_time()
        self.put(name, json.dumps(document).encode())

    def copy_from_another(self) -> None:
        root = os.path.dirname(os.path.dirname(self.directory))
        other = os.path.join(root, self.chance.choice(os.listdir(root)), "1", self.chance.choice(NAMES[:3]))
        with open(other, "rb") as file:
            self.put(self.chance.choice(NAMES[:3]), file.read())

    def remove(self) -> None:
        if self.chance.random() < 0.2:
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            os.unlink(self.path())

    def put_something_in_the_way(self) -> None:
        path = self.path()
        with open(path, "ab"):
            os.unlink(path)
        way = self.chance.randrange(5)
        if way == 0:
            os.mkfifo(path)
        elif way == 1:
            os.mkdir(path)
        elif way == 2:
            os.symlink(self.chance.choice(("/dev/zero", "/dev/full", "/etc/passwd", path, "/proc/self/mem")), path)
        elif way == 3:
            os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 1 << 40)
        else:
            os.link("/proc/self/exe", path, follow_symlinks=True)

    def close_or_move_the_directory(self) -> None:
        if self.chance.random() < 0.5:
            os.chmod(self.directory, 0)
        else:
            os.rename(self.directory, self.directory + ".gone")
            if self.chance.random() < 0.5:
                os.symlink(self.directory + ".gone", self.directory)

    def set_times(self) -> None:
        at = self.chance.choice((0, 1, time.time() + 1e6))
        os.utime(self.path(), (at, at))

    def hold_the_lock(self) -> None:
        fcntl.flock(os.open(self.path("claim.json"), os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def runner(self) -> int:
        with open(self.path("claim.json"), encoding="utf-8") as file:
            pid: int = json.load(file)["runner"]["pid"]
        return pid

    def kill_the_runner(self) -> None:
        os.kill(self.runner(), self.chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM)))

    def leave_a_child_and_kill_the_runner(self) -> None:
        pid = self.runner()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.chdir("/")
                os.execve("/bin/sleep", ["sleep", "3"], {})
            os._exit(0)
        os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Forge, and beat."""
    beats, seconds = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600), float(sys.argv[2])
    began = time.time()
    os.pwrite(beats, b"%.6f\n" % began, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    directory = os.path.dirname(os.environ["NODUS_WORK_DIR"])
    seeds = [int(text) for text in sys.argv[3:]]
    done = 0
    while (now := time.time()) < began + seconds or seeds:
        os.pwrite(beats, b"%.6f\n" % now, 32)
        if seeds:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                Forger(directory, seeds.pop(0)).forge()
                done += 1
                os.pwrite(beats, b"%d\n" % done, 64)
            if not seeds:
                os.close(os.open(f"{sys.argv[1]}.tried", os.O_WRONLY | os.O_CREAT, 0o600))
        time.sleep(0.005)


if __name__ == "__main__":
    main()
