"""Installs model servers in a separate environment, and runs the tests of them.

    .venv/bin/python tests/servers.py

Runs the tests marked `servers`; arguments go to pytest. What cannot be installed is no failure: the
last line names it and the number of tests that are missing.
"""

import os
import sys
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from other_programs import PIP_INSTALL, ROOT, run, run_tests
from server_process import SERVERS_PYTHON

# Together, so that pip finds versions that fit each other. KServe's protobuf is older than ours.
PACKAGES = ("tensorflow>=2.19", "kserve>=0.21", "ray[serve]>=2.60", "tritonclient[grpc]>=2.73")
NEVER = "TF Serving's and Triton's own servers, which are no Python packages; Kubernetes"


def install() -> None:
    """Installs the servers; one by one where they do not fit each other any more."""
    if not SERVERS_PYTHON.exists():
        print(f"Setting up {SERVERS_PYTHON.parents[1].name}, about two minutes ...", flush=True)
        venv.create(SERVERS_PYTHON.parents[1], with_pip=True)
    if not run(SERVERS_PYTHON, *PIP_INSTALL, *PACKAGES):
        for package in PACKAGES:
            run(SERVERS_PYTHON, *PIP_INSTALL, package)


if __name__ == "__main__":
    os.chdir(ROOT)
    install()
    # Other files are not even imported.
    files = (ROOT / "tests").rglob("test_*.py")
    marked = [str(file) for file in files if "mark.servers" in file.read_text(encoding="utf-8")]
    sys.exit(run_tests("servers", [*sorted(marked), *sys.argv[1:]], NEVER))
