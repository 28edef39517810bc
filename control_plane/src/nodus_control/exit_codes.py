"""Exit statuses of the operator's commands: those of the `nodus` command that apply."""

OK = 0
CONFIGURATION = 3
