"""Threads that write at the same time share a transaction, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS
from sqlalchemy import Connection, insert, select

from nodus_ledger.database.database import Database
from nodus_ledger.database.group_commit import GroupCommit
from nodus_ledger.database.schema import settings
from nodus_ledger.errors import DatabaseUnavailable


class Refusal(Exception):
    """What a piece of work raises."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database in a file."""
    opened = Database(f"sqlite:///{tmp_path / 'nodus.db'}")
    yield opened
    opened.close()


def names(database: Database) -> set[str]:
    """Read what was written."""
    with database.read() as connection:
        return set(connection.execute(select(settings.c.name)).scalars())


def put(name: str, *, refuse: bool = False) -> Callable[[Connection], str]:
    """Make a piece of work that writes a name, and may then raise."""

    def work(connection: Connection) -> str:
        connection.execute(insert(settings).values(name=name, value=""))
        if refuse:
            raise Refusal(name)
        return name

    return work


def test_what_one_raises_undoes_its_own_statements_alone(database: Database) -> None:
    """Sixty threads, every third raises: the others' work is committed, each has its own answer."""
    commits = GroupCommit(lambda _since: database.write(), PATIENCE_SECONDS)
    answers: dict[int, str] = {}
    ready = threading.Barrier(60)

    def run(number: int) -> None:
        ready.wait()
        try:
            answers[number] = commits.run(put(f"n{number}", refuse=number % 3 == 0))
        except Refusal as exc:
            answers[number] = f"refused {exc}"

    threads = [threading.Thread(target=run, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert names(database) == {f"n{number}" for number in range(60) if number % 3}
    assert answers == {number: f"n{number}" if number % 3 else f"refused n{number}" for number in range(60)}


def test_those_who_wait_share_a_transaction(database: Database) -> None:
    """While one transaction is open, all that come queue for the next."""
    opened = []
    first_is_open, may_go_on = threading.Event(), threading.Event()

    def write(_since: float) -> AbstractContextManager[Connection]:
        opened.append(1)
        return database.write()

    commits = GroupCommit(write, PATIENCE_SECONDS)

    def hold(connection: Connection) -> None:
        first_is_open.set()
        may_go_on.wait()

    threads = [threading.Thread(target=commits.run, args=(hold,))]
    threads[0].start()
    first_is_open.wait()
    threads += [threading.Thread(target=commits.run, args=(put(f"n{number}"),)) for number in range(20)]
    for thread in threads[1:]:
        thread.start()
    while len(commits._waiting) < 20:
        pass
    may_go_on.set()
    for thread in threads:
        thread.join()

    assert len(names(database)) == 20
    assert len(opened) == 2


def test_whoever_is_done_does_not_wait_for_those_who_come_next(database: Database) -> None:
    """Five share a transaction; in the one after it, each of them waits until all have the answers of the first."""
    commits = GroupCommit(lambda _since: database.write(), PATIENCE_SECONDS)
    is_open, may_go_on, all_have_answers = threading.Event(), threading.Event(), threading.Event()
    answers: list[str] = []
    waited: list[bool] = []

    def hold(_connection: Connection) -> None:
        is_open.set()
        may_go_on.wait(PATIENCE_SECONDS)

    def come_back(number: int) -> None:
        answers.append(commits.run(put(f"n{number}")))
        if len(answers) == 5:
            all_have_answers.set()
        commits.run(lambda _: waited.append(all_have_answers.wait(PATIENCE_SECONDS)))

    threads = [threading.Thread(target=commits.run, args=(hold,))]
    threads += [threading.Thread(target=come_back, args=(number,)) for number in range(5)]
    threads[0].start()
    assert is_open.wait(PATIENCE_SECONDS)
    for thread in threads[1:]:
        thread.start()
    while len(commits._waiting) < 5:
        pass
    may_go_on.set()
    for thread in threads:
        thread.join()

    assert waited == [True] * 5
    assert sorted(answers) == [f"n{number}" for number in range(5)]


def test_whose_turn_does_not_come_leaves_the_queue(database: Database) -> None:
    """It says so, nothing of it is done, and those behind it are served."""
    commits = GroupCommit(lambda _since: database.write(), 0.05)
    is_open, may_go_on = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        is_open.set()
        may_go_on.wait(PATIENCE_SECONDS)

    holder = threading.Thread(target=commits.run, args=(hold,))
    holder.start()
    is_open.wait(PATIENCE_SECONDS)
    with pytest.raises(DatabaseUnavailable, match="waiting for a lock"):
        commits.run(put("late"))
    may_go_on.set()
    holder.join()

    assert commits.run(put("after")) == "after"
    assert names(database) == {"after"}


def test_whoever_is_interrupted_while_waiting_is_not_left_to_lead(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends a thread anywhere; its piece is not done, and those behind it do not wait for it."""
    commits = GroupCommit(lambda _since: database.write(), PATIENCE_SECONDS)
    is_open, may_go_on = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        is_open.set()
        may_go_on.wait(PATIENCE_SECONDS)

    def interrupt(piece: object, seconds: float = -1) -> bool:
        raise KeyboardInterrupt

    holder = threading.Thread(target=commits.run, args=(hold,))
    holder.start()
    assert is_open.wait(PATIENCE_SECONDS)
    with monkeypatch.context() as patch:
        patch.setattr("nodus_ledger.database.group_commit._Piece.sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            commits.run(put("interrupted"))
    may_go_on.set()
    holder.join()

    assert commits.run(put("after")) == "after"
    assert names(database) == {"after"}


def test_a_commit_that_fails_fails_for_all_of_its_group(database: Database) -> None:
    """Nobody is told of success that the disk does not know of."""
    is_full = True

    @contextmanager
    def write(_since: float) -> Iterator[Connection]:
        with database.write() as connection:
            yield connection
            if is_full:
                raise OSError("the disk is full")

    commits = GroupCommit(write, PATIENCE_SECONDS)
    with pytest.raises(OSError, match="full"):
        commits.run(put("lost"))
    is_full = False

    assert commits.run(put("after")) == "after"
    assert names(database) == {"after"}
