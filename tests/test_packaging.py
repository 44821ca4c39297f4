"""The built wheel holds the package, all of it and nothing else."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ssd_keras.version import __version__

REPOSITORY = Path(__file__).resolve().parents[1]
METADATA = f"ssd_keras-{__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, so that an old build/ in the checkout cannot leak into it."""
    source = tmp_path_factory.mktemp("wheel") / "source"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    shutil.copytree(REPOSITORY, source, ignore=unwanted)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_wheel_has_the_package_and_its_metadata_only(wheel):
    assert {name.split("/")[0] for name in wheel.namelist()} == {"ssd_keras", METADATA}


def test_wheel_has_every_module(wheel):
    modules = (REPOSITORY / "ssd_keras").rglob("*.py")
    wanted = {path.relative_to(REPOSITORY).as_posix() for path in modules}
    assert {name for name in wheel.namelist() if name.endswith(".py")} == wanted


def test_wheel_has_no_notebooks_or_tests(wheel):
    folders = {folder for name in wheel.namelist() for folder in name.split("/")[:-1]}
    assert folders.isdisjoint({"training", "export", "tests"})


def test_wheel_is_typed_and_has_the_data_files(wheel):
    files = [*(REPOSITORY / "ssd_keras/recipes").iterdir()]
    wanted = {path.relative_to(REPOSITORY).as_posix() for path in files}
    assert "ssd_keras/recipes/own_data.toml" in wanted
    wanted |= {"ssd_keras/py.typed", "ssd_keras/evaluation/report.html"}
    assert wanted <= set(wheel.namelist())


def test_wheel_has_the_console_script(wheel):
    entry_points = wheel.read(f"{METADATA}/entry_points.txt").decode()
    assert entry_points.split() == [
        "[console_scripts]",
        "ssd-keras",
        "=",
        "ssd_keras.cli.parser:main",
    ]


def test_wheel_states_version_and_licence(wheel):
    metadata = wheel.read(f"{METADATA}/METADATA").decode().splitlines()
    assert f"Version: {__version__}" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert any(re.fullmatch(r"License(-Expression)?: Apache-2\.0", line) for line in metadata)


def requirements():
    """The requirement of each package by name; those of consumers and PyTorch have other sets."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    extras = dict(config["options.extras_require"])
    lines = config["options"]["install_requires"].splitlines()
    for extra in extras.keys() - {"consumers", "torch"}:
        lines += extras[extra].splitlines()
    return {re.sub("_", "-", Requirement(x).name): Requirement(x) for x in lines if x}


def test_the_oldest_set_has_each_lower_bound():
    text = (REPOSITORY / "tests/constraints/oldest.txt").read_text()
    direct, other = text.split("\n\n")
    pins = dict(line.split("==") for line in direct.splitlines() if line[0] != "#")
    bounds = {name: str(x.specifier).removeprefix(">=") for name, x in requirements().items()}
    assert bounds.keys() == pins.keys()
    for name, bound in bounds.items():  # 3.9 is met by the last 3.9.x
        assert f"{pins[name]}.".startswith(f"{bound}."), name
    assert not bounds.keys() & {line.partition("==")[0] for line in other.splitlines()}


@pytest.mark.parametrize("name", ["colab", "kaggle"])
def test_nothing_that_colab_and_kaggle_have_is_too_old(name):
    lines = (REPOSITORY / f"tests/constraints/{name}.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line[0] != "#")
    assert {"tensorflow", "keras", "numpy", "pillow", "matplotlib"} <= pins.keys()
    met = {key: x.specifier.contains(pins[key]) for key, x in requirements().items() if key in pins}
    assert len(met) > 10 and all(met.values()), met


@pytest.fixture(scope="module")
def console(wheel, tmp_path_factory):
    """Runs `ssd-keras` of the wheel, with the packages of this environment, in an empty folder."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--quiet", wheel.filename], check=True)
    (site,) = (folder / "venv").rglob("site-packages")
    # A path in a .pth file is only appended: an editable ssd_keras there has no effect.
    (site / "others.pth").write_text(str(Path(pytest.__file__).parents[1]))
    (folder / "empty").mkdir()
    environment = {key: x for key, x in os.environ.items() if key != "PYTHONPATH"}

    def run(*words, program="ssd-keras"):
        return subprocess.run(
            [programs / program, *words],
            cwd=folder / "empty", env=environment, capture_output=True, text=True,
        )  # fmt: skip

    return run


@pytest.mark.slow
def test_the_wheel_alone_has_its_recipes_data_and_demo(console, tmp_path):
    code = "import ssd_keras; print(ssd_keras.__file__)"
    assert "/installed" in console("-c", code, program="python").stdout
    recipes = console("info", "recipes")
    assert recipes.stdout.count("\n") == len([*(REPOSITORY / "ssd_keras/recipes").iterdir()])
    assert "\nown_data: SSD-PAN on MobileNetV2" in recipes.stdout
    assert "\nssd192_small_shapes: 192x192" in console("info", "presets").stdout
    values = console("info", "recipe", "own_data")
    assert "ssd-keras train --recipe own_data" in values.stdout
    assert '* model.backbone_weights = "imagenet"' in values.stdout
    sheet = tmp_path / "sheet.png"
    shown = console("data", "show", "synthetic:shapes@train[:2]", "--output", str(sheet))
    assert shown.stdout == f"wrote {sheet}\n" and sheet.stat().st_size > 10_000
    assert "default runs/demo" in " ".join(console("demo", "--help").stdout.split())
    assert {recipes.stderr, values.stderr, shown.stderr} == {""}


def test_changelog_begins_with_this_version():
    headings = re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert [name for name in headings if name != "Unreleased"][0] == __version__
