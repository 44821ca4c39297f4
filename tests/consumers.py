"""Installs other projects' programs that read or write the same files, and runs their tests.

    .venv-consumers/bin/python tests/consumers.py

Runs the tests marked `consumers`; arguments go to pytest. What cannot be installed is no failure:
the last line names it and the number of tests that are missing.
"""

import collections
import os
import shlex
import shutil
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from browser import chromium_path

ROOT = Path(__file__).resolve().parents[1]
PIP_INSTALL = ["-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check"]
OPENCV4_PYTHON = ROOT / ".venv-opencv4" / "bin" / "python"


def run(*command) -> bool:
    """True where the command succeeds; a failure is printed."""
    words = [str(word) for word in command]
    is_done = subprocess.run(words, stdin=subprocess.DEVNULL).returncode == 0
    if not is_done:
        print(f"failed: {shlex.join(words)}", file=sys.stderr, flush=True)
    return is_done


def is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def install_packages() -> None:
    """Installs the extra `consumers` one by one: a failure does not stop the others."""
    for text in requires("ssd_keras") or []:
        requirement = Requirement(text)
        is_consumer = requirement.marker and requirement.marker.evaluate({"extra": "consumers"})
        if is_consumer and not is_met(requirement):
            run(sys.executable, *PIP_INSTALL, f"{requirement.name}{requirement.specifier}")


def install_opencv4() -> None:
    """Installs an OpenCV that reads Caffe's files, which OpenCV 5 does not, in its environment."""
    if "SSD_KERAS_OPENCV4_PYTHON" in os.environ:
        return
    if not OPENCV4_PYTHON.exists():
        venv.create(ROOT / ".venv-opencv4", with_pip=True)
    if run(OPENCV4_PYTHON, *PIP_INSTALL, "opencv-python-headless<5", "numpy"):
        os.environ["SSD_KERAS_OPENCV4_PYTHON"] = str(OPENCV4_PYTHON)


def install_chromium() -> None:
    """Installs Debian's package, where this process may."""
    if chromium_path() is None and shutil.which("apt-get") and os.geteuid() == 0:
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        run("apt-get", "-qq", "update")
        run("apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium")


class Skips:
    """A plugin of pytest that counts skipped tests by their reason."""

    def __init__(self):
        self.counts = collections.Counter()

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2]
            self.counts[reason.removeprefix("Skipped: ").removeprefix("NOT TESTED: ")] += 1


def main(arguments: list[str]) -> int:
    install_packages()
    install_opencv4()
    install_chromium()
    skips = Skips()
    status = pytest.main(["-m", "consumers", *arguments], plugins=[skips])
    missing = [f"{reason} (tests: {count})" for reason, count in skips.counts.items()]
    if missing:
        print(f"Not tested here: {'; '.join(missing)}.")
    elif status == pytest.ExitCode.OK:
        print("All consumers were tested.")
    return status


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
