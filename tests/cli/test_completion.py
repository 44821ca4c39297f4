"""The scripts that complete commands in a shell."""

import re
import shutil
import subprocess
import sys

import pytest

from ssd_keras import cli

LINES = {
    "tr": ["train"],
    "data c": ["check", "convert"],
    "train --pre": ["--preset"],
    "train --preset torchvision_ssd3": ["torchvision_ssd300_vgg16_coco"],
    "train --train-data a --recipe own": ["own_data"],
    "info recipe sha": ["shapes"],
    "info pre": ["presets"],
    "export MODEL --format sa": ["saved_model"],
    "evaluate mi": ["mine.keras"],  # a file
    "train --output ru": ["runs"],  # a folder
    "--ver": ["--version"],
}
# What bash does at a press of Tab.
PRESS = """
for line in "${lines[@]}"; do
  read -ra COMP_WORDS <<< "ssd-keras $line"
  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
  _shtab_ssd_keras 2> /dev/null
  echo "${COMPREPLY[@]}"
done
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_commands_options_names_and_paths(tmp_path, capsys):
    pytest.importorskip("shtab")
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "mine.keras").touch()
    (tmp_path / "runs").mkdir()
    lines = " ".join(f"'{line}'" for line in LINES)
    script = f"{capsys.readouterr().out}\nlines=({lines})\n{PRESS}"
    done = subprocess.run(
        ["bash"], input=script, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    found = dict(zip(LINES, map(str.split, done.stdout.splitlines()), strict=True))
    assert found == LINES


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_a_script_with_the_same_names(shell, capsys):
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("torchvision_ssd300_vgg16_coco", "own_data", "--train-data", "saved_model"):
        assert word in script


def test_a_missing_package_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 2
    assert re.fullmatch(
        r"ssd-keras: completion in a shell needs the package shtab, .*; "
        r"run: pip install 'ssd_keras\[completion\]'\n",
        capsys.readouterr().err,
    )
