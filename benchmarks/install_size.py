"""What `pip install ssd_keras` costs beside TensorFlow: megabytes of each package; see README.md.

Installs both into fresh environments of this Python.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from suite import record_of, rounded

from ssd_keras.core.hardware import hardware

ROOT = Path(__file__).parents[1]
# Name, version and bytes of each installed package, byte code included.
SIZES = """
import importlib.metadata, json
sizes = {}
for one in importlib.metadata.distributions():
    paths = {one.locate_file(name) for name in one.files or ()}
    size = sum(path.stat().st_size for path in paths if path.is_file())
    sizes[one.name.lower()] = one.version, size
print(json.dumps(sizes))
"""


def installed(folder: str, *requirements: str) -> dict[str, tuple[str, int]]:
    """Installs into a new environment; returns version and bytes of each package but pip."""
    venv.create(folder, with_pip=True)
    python = str(Path(folder) / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-qq", *requirements], check=True)
    sizes = json.loads(subprocess.check_output([python, "-c", SIZES]))
    return {name: tuple(value) for name, value in sizes.items() if name != "pip"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--results", type=Path, help="directory for a JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = installed(f"{folder}/tensorflow", "tensorflow")
        whole = installed(f"{folder}/ssd_keras", str(ROOT))
    added = {name: value for name, value in whole.items() if name not in base}
    rows = sorted(added.items(), key=lambda row: -row[1][1])
    megabytes = {f"{name} {version}": size / 1e6 for name, (version, size) in rows}
    totals = [sum(size for _, size in sizes.values()) / 1e6 for sizes in (base, whole)]
    for name, size in megabytes.items():
        print(f"{size:8.1f} MB  {name}")
    print(f"{totals[1] - totals[0]:8.1f} MB  beside TensorFlow's {totals[0]:.0f} MB")
    if options.results:
        record = record_of("python benchmarks/install_size.py", hardware())
        record["versions"] = {name: version for name, (version, _) in sorted(whole.items())}
        record |= {"python": platform.python_version(), "megabytes": megabytes}
        record |= {"tensorflow_megabytes": totals[0], "ssd_keras_megabytes": totals[1]}
        path = options.results / "install_size.json"
        path.write_text(json.dumps(rounded(record), indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
