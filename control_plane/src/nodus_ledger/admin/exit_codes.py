"""The exit statuses of the commands."""

OK = 0
FAULTS_FOUND = 1
USAGE = 2
CONFIGURATION = 3
NOT_FOUND = 4
