"""Exit statuses of `ssd-keras`."""

FAILED = 2
START_AGAIN = 75
"""The same command with --resume goes on: a process was lost or had notice. BSD's EX_TEMPFAIL."""
