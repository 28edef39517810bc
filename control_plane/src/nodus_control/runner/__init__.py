"""The small process that supervises one attempt of one job, and the files through which others talk to it.

The `process` driver starts one runner for each attempt. A runner belongs to nobody: it is in a session of its own,
holds no file of the control plane, and goes on when the control plane is killed. Beside it is its guard, which ends the
program when the runner cannot show for a minute that it lives (`guard.py`). It imports the standard library
and this package only, so that it starts in a few hundredths of a second.

An attempt lives in `<state_dir>/<job_id>/<attempt>/` (directories 0700, files 0600):

=============== ===================================================================================================
`owner.json`    Whose it is: which database's, and which life of it. Written by the driver, before a runner is started.
`claim.json`    Who holds the attempt. Linked into place, so that exactly one of all contenders ever gets it: a
                runner (with its pid, start time and boot id), or a driver that withdraws the attempt before any
                runner came. The runner keeps it locked for as long as it lives.
`cancel`        A driver's request to end the attempt.
`program.json`  The program's pid and start, written by the child itself before it becomes the program. Without this
                file the program has certainly never run; with it, it may have, and is never started again.
`output.log`    What the program printed, stdout and stderr in the order of writing, byte for byte.
`result.json`   How it ended. Written once, whole, and last. A runner that finds another's kills its program: it stood
                still for so long that it was given up.
`forgotten`     Left when a driver forgot the attempt, which had ended. Owner, claim, result and output stay.
`work/` `tmp/`  The program's directory and its `TMPDIR`; the second is removed at the end.
=============== ===================================================================================================

The specification (command and environment, which hold secrets) comes over a pipe and is kept in memory only.
"""
