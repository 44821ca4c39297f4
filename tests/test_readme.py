"""The documents: examples run, commands parse, links lead somewhere, tables are true."""

import configparser
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from ssd_keras.cli.parser import build_parser
from ssd_keras.core.images import read_image
from ssd_keras.data.augmentation.steps import Blur, Grey, QuarterTurns
from ssd_keras.drawing.results import DetectionResult
from ssd_keras.engine.recipes import TrainRecipe, load_recipe, override, recipe_names
from ssd_keras.presets import PRESETS

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "training/README.md", "export/README.md"]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
DOCUMENTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
README, TRAINING = DOCUMENTS["README.md"], DOCUMENTS["training/README.md"]


def test_notebook_example_runs_and_detects(tmp_path, monkeypatch):
    """The example on fewer images and steps."""
    monkeypatch.chdir(tmp_path)
    _, code = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    for old, new in (
        ("@train", "@train[:32]"),
        ("@val", "@val[:8]"),
        # Two steps: a graph takes longer to build than to run.
        ("model.fit(images, epochs=8", "model.run_eagerly = True\nmodel.fit(images, epochs=1"),
    ):
        assert old in code
        code = code.replace(old, new)
    names: dict = {}
    exec(code, names)
    assert (tmp_path / "shapes.keras").stat().st_size > 100_000
    drawn = read_image(str(tmp_path / "found.png"))
    assert drawn.shape == names["val"][0].read_image().shape


def test_the_first_screen_is_short_and_its_first_example_names_what_there_is():
    lines = README.splitlines()
    assert len(lines) <= 120
    first, _ = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in first.splitlines() if line]) == 3
    (preset,) = re.findall(r'from_preset\("(\w+)"\)', first)
    assert PRESETS[preset].weights is not None and callable(DetectionResult.show)


def test_links_lead_to_files_and_headings():
    for name, text in DOCUMENTS.items():
        links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text)
        for path, heading in links:
            target = (ROOT / name).parent / path if path else ROOT / name
            assert target.exists(), f"{name}: {path}"
            if heading:
                titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
                assert heading in {x.lower().replace(" ", "-") for x in titles}, (
                    f"{name}: {heading}"
                )


def test_the_address_of_the_project_is_one():
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "setup.cfg")
    address = settings["metadata"]["url"]
    owner = address.removeprefix("https://github.com/")
    texts = {**DOCUMENTS, "setup.cfg": (ROOT / "setup.cfg").read_text(encoding="utf-8")}
    texts |= {
        path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("*/notebooks/*.ipynb")
    }
    found = {
        x for text in texts.values() for x in re.findall(r"github(?:\.com)?/([\w-]+/\w+)", text)
    }
    assert {x for x in found if "ssd" in x} == {owner}


def test_the_example_of_any_network_runs():
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENTS["docs/models.md"], flags=re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["model"].class_names == ("cat", "moon")


def test_the_example_of_a_step_runs_and_darkens_one_side():
    (code,) = re.findall(r"```python\n(.*?)```", TRAINING, flags=re.DOTALL)
    names: dict = {}
    exec(code.replace("@train", "@train[:16]"), names)
    image = np.full([4, 50, 3], 200, np.float32)
    darkened, boxes, labels = names["shadow"](image, "boxes", "labels", [3, 4])
    start = int((darkened[0, :, 0].numpy() == 200).sum())
    assert 0 < start < 50 and (darkened[:, :start] == 200).numpy().all()
    assert (darkened[:, start:] == 100).numpy().all() and (boxes, labels) == ("boxes", "labels")
    images, _ = next(iter(names["images"]))
    assert images.shape == (16, 192, 192, 3) and np.ptp(images) > 200
    recipe = names["recipe"]
    assert recipe.augmentation.after == (names["shadow"],)
    assert TrainRecipe.from_tables(recipe.to_tables()) == recipe  # as a resumed training compares
    settings = re.findall(r"--set '(.*?)'", TRAINING)
    changed = override(load_recipe("own_data"), settings).augmentation
    assert changed.before == (QuarterTurns(),)
    assert changed.after == (Blur(max_sigma=1.0), Grey())


def _commands(text: str) -> list[str]:
    """Returns the commands; what ends in dots is a part of one."""
    known = "train|evaluate|predict|score|info|data|export|demo|benchmark"
    whole = text.replace("\\\n", " ")
    found = re.findall(rf"^\s*(ssd-keras (?:{known})\b.*)$", whole, re.M)
    return [command for command in found if not command.endswith("...")]


TEXTS = {name: load_recipe(name).record.command for name in recipe_names()}
TEXTS |= DOCUMENTS


@pytest.mark.parametrize("name", TEXTS)
def test_documented_commands_parse(name):
    commands = _commands(TEXTS[name])
    assert commands or name in PAGES[1:]
    for command in commands:
        words = [word for word in shlex.split(command)[1:] if word != "..."]
        assert callable(build_parser().parse_args(words).run)


def test_preset_table_names_every_preset_with_its_default_boxes():
    rows = re.findall(r"^\| `(\w+)` \| (\d+)x(\d+) \| (\d+) \|", DOCUMENTS["docs/models.md"], re.M)
    stated = {name: ((int(h), int(w)), int(boxes)) for name, h, w, boxes in rows}
    assert stated == {p.name: (p.image_size, p.num_default_boxes) for p in PRESETS.values()}
