"""Installs other projects' programs that read or write the same files, and runs their tests.

    .venv-consumers/bin/python tests/consumers.py

Runs the tests marked `consumers`; arguments go to pytest. What cannot be installed is no failure:
the last line names it and the number of tests that are missing.
"""

import os
import shutil
import sys
import venv
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from browser import chromium_path
from other_programs import PIP_INSTALL, ROOT, run, run_tests

OPENCV4_PYTHON = ROOT / ".venv-opencv4" / "bin" / "python"


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
            run(sys.executable, *PIP_INSTALL, text.partition(";")[0])


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


def main(arguments: list[str]) -> int:
    install_packages()
    install_opencv4()
    install_chromium()
    return run_tests("consumers", arguments)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
