"""Shows what `pip install ssd_keras` changes where Colab's or Kaggle's packages are installed:

    python3.13 tests/constraints/check.py colab
    python3.12 tests/constraints/check.py kaggle

Minutes, in an environment of its own that is removed; fails where a package has another version
afterwards.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(name: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)

        def pip(*words: str) -> list[str]:
            command = [f"{folder}/bin/python", "-m", "pip", *words, "--disable-pip-version-check"]
            return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()

        pip("install", "--requirement", str(ROOT / f"tests/constraints/{name}.txt"))
        before = pip("freeze")
        pip("install", str(ROOT))
        after = pip("freeze")
        changed = sorted(set(before) - set(after))
        print(f"{len(before)} packages of {name} before: {len(changed)} changed {changed}")
        print("added:", *sorted(set(after) - set(before)))
        print(*pip("check"), sep="\n")
    is_installed = any(line.startswith("ssd_keras") for line in after)
    return int(bool(changed) or not is_installed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
