"""What a program prints is kept byte for byte, up to the limit, and can be read while it grows."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from nodus_control.runner.output import image_notice, limit_marker
from nodus_control.suppliers.process.driver import OUTPUT_LIMIT_BYTES
from nodus_control.suppliers.protocol import LogChunk, Placement, PlacementState

if TYPE_CHECKING:
    from process.conftest import RealJobs

WAIT_FOR_FILE = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"


def test_ten_megabytes_are_kept_whole(jobs: RealJobs) -> None:
    """A burst far beyond what a pipe holds arrives complete and in order."""
    job = jobs.start_python("import sys\nfor n in range(160): sys.stdout.write(chr(97 + n % 26) * 65536)")
    report = job.finish()

    expected = b"".join(bytes([97 + n % 26]) * 65536 for n in range(160))
    assert report.state is PlacementState.COMPLETED
    assert hashlib.sha256(job.output()).digest() == hashlib.sha256(expected).digest()


def test_every_byte_value_survives(jobs: RealJobs) -> None:
    """Output is bytes: nothing is decoded, translated or dropped."""
    job = jobs.start_python("import sys; sys.stdout.buffer.write(bytes(range(256)) * 3)")
    job.finish()

    assert job.output() == bytes(range(256)) * 3


def test_stdout_and_stderr_keep_their_order(jobs: RealJobs) -> None:
    """Both go to one file, as they were written."""
    job = jobs.start_shell("echo one; echo two >&2; echo three")
    job.finish()

    assert job.output() == b"one\ntwo\nthree\n"


def test_output_beyond_the_limit_is_cut_and_the_program_goes_on(jobs: RealJobs) -> None:
    """The file ends with the marker at the limit; the program is drained and ends as it would have."""
    limit = 100_000
    driver = jobs.new_driver(output_limit_bytes=limit)
    job = jobs.start_python("print('x' * 5_000_000); raise SystemExit(4)", driver=driver)
    report = job.finish()

    output = job.output()
    assert len(output) == limit
    assert output.endswith(limit_marker(limit))
    assert set(output.removesuffix(limit_marker(limit))) == {ord("x")}
    assert report.error_message is not None
    assert report.error_message.startswith("the program exited with code 4")


def test_output_of_exactly_what_fits_is_not_marked(jobs: RealJobs) -> None:
    """The marker means that something is missing."""
    limit = 1000
    fits = limit - len(limit_marker(limit))
    job = jobs.start_python(f"print('x' * {fits}, end='')", driver=jobs.new_driver(output_limit_bytes=limit))
    job.finish()

    assert job.output() == b"x" * fits


def test_the_limit_is_64_mib() -> None:
    """As documented, and the marker says so."""
    assert OUTPUT_LIMIT_BYTES == 67_108_864
    assert b"64 MiB" in limit_marker(OUTPUT_LIMIT_BYTES)


def test_logs_are_read_by_offset_while_the_program_runs(jobs: RealJobs) -> None:
    """A reader follows the output; it is complete only once the program has ended and everything was read."""
    go = jobs.scratch / "go"
    job = jobs.start_python("print('0123456789', flush=True)\n" + WAIT_FOR_FILE + "print('end')", str(go))
    job.until_printed(b"0123456789\n")
    driver, placement, begin = jobs.driver, job.placement, len(job.notice)

    def logs(offset: int, limit: int) -> tuple[bytes, int, int, bool]:
        chunk = driver.logs(placement, begin + offset, limit)
        return chunk.data, chunk.offset - begin, chunk.total - begin, chunk.complete

    assert logs(2, 3) == (b"234", 2, 11, False)
    assert logs(11, 100) == (b"", 11, 11, False)
    go.touch()
    job.finish()
    assert logs(11, 2) == (b"en", 11, 15, False)
    assert logs(13, 2) == (b"d\n", 13, 15, True)
    assert logs(99, 2) == (b"", 99, 15, True)


def test_the_first_line_says_that_the_image_was_not_run(jobs: RealJobs) -> None:
    """Whoever looks into the log of a job that missed something from its image finds out why."""
    job = jobs.start_shell("echo hello")
    job.finish()

    first, second, rest = job.driver.logs(job.placement, 0, 1000).data.split(b"\n")
    assert b"image image was not run, and no GPU attached" in first
    assert (second, rest) == (b"hello", b"")


def test_an_image_cannot_write_lines_of_its_own_into_the_log() -> None:
    """Its name is one line, whatever is in it."""
    notice = image_notice('x\n\x1b[31m\u009b"\u202e')

    assert notice.count("\n") == 1
    assert notice[:-1].isprintable()
    assert notice.isascii()


def test_logs_of_what_was_never_submitted_are_empty_and_open(jobs: RealJobs) -> None:
    """Nothing is known yet, so nothing is complete."""
    assert jobs.driver.logs(Placement("job", 1, "s", "r", 0.0), 0, 10) == LogChunk(b"", 0, 0, complete=False)


def test_unbuffered_output_is_there_before_the_program_ends(jobs: RealJobs) -> None:
    """The driver holds nothing back."""
    job = jobs.start_shell("echo started; sleep 600").until_printed(b"started\n")

    assert job.poll().state is PlacementState.RUNNING


def test_files_are_the_owners_alone(jobs: RealJobs) -> None:
    """Directories are 0700, files 0600, those that the program makes included."""
    job = jobs.start_shell("echo secret > artefact; mkdir sub; echo ready; sleep 600").until_printed(b"ready")

    found = {jobs.state_dir: 0o700, jobs.state_dir / job.placement.job_id: 0o700}
    for directory, names, files in os.walk(job.directory):
        found[job.directory / directory] = 0o700
        found.update({job.directory / directory / name: 0o700 for name in names})
        found.update({job.directory / directory / name: 0o600 for name in files})
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in found if path.exists()}
    assert job.directory / "output.log" in modes
    assert job.directory / "work" / "artefact" in modes
    assert modes == {path: found[path] for path in modes}


def test_nothing_but_the_documented_files_is_left(jobs: RealJobs) -> None:
    """What the program wrote goes with it, in its own directory and in its TMPDIR; its output stays."""
    job = jobs.start_shell('echo x > "$TMPDIR/scratch"; mkdir -p a/b; echo x > a/b/c; chmod 500 a/b a')
    job.finish()
    job.until_removed()

    assert {path.name for path in job.directory.iterdir()} == {
        "owner.json",
        "claim.json",
        "program.json",
        "output.log",
        "result.json",
    }
