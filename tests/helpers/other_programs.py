"""Installs other projects' programs and runs the tests that need them, naming what is missing."""

import collections
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIP_INSTALL = ["-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check"]


def run(*command) -> bool:
    """True where the command succeeds; a failure is printed."""
    words = [str(word) for word in command]
    is_done = subprocess.run(words, stdin=subprocess.DEVNULL).returncode == 0
    if not is_done:
        print(f"failed: {shlex.join(words)}", file=sys.stderr, flush=True)
    return is_done


class Skips:
    """A plugin of pytest that counts skipped tests by their reason."""

    def __init__(self):
        self.counts = collections.Counter()

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2]
            self.counts[reason.removeprefix("Skipped: ").removeprefix("NOT TESTED: ")] += 1


def run_tests(mark: str, arguments: list[str], never: str = "") -> int:
    """Runs the tests with a mark and returns the exit status; the last line names what is missing.

    `never` names what no machine tests.
    """
    skips = Skips()
    status = pytest.main(["-m", mark, *arguments], plugins=[skips])
    missing = [f"{reason} (tests: {count})" for reason, count in skips.counts.items()]
    missing += [never] if never else []
    if missing:
        print(f"Not tested here: {'; '.join(missing)}.")
    elif status == pytest.ExitCode.OK:
        print(f"All {mark} were tested.")
    return status
