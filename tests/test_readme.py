"""The README's example runs, its commands parse, and its table of presets is true."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from ssd_keras.cli.parser import build_parser
from ssd_keras.data.augmentation.steps import Blur, Grey, QuarterTurns
from ssd_keras.engine.recipes import TrainRecipe, load_recipe, override, recipe_names
from ssd_keras.presets import PRESETS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "training/README.md").read_text(encoding="utf-8")


def test_notebook_example_runs_and_detects(tmp_path, monkeypatch):
    """The example on fewer images and steps."""
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    for old, new in (
        ("@train", "@train[:32]"),
        ("@val", "@val[:8]"),
        # Two steps: a graph takes longer to build than to run.
        (
            "model.fit(images, steps_per_epoch=50, epochs=8",
            "model.run_eagerly = True\nmodel.fit(images, steps_per_epoch=2, epochs=1",
        ),
    ):
        assert old in code
        code = code.replace(old, new)
    names: dict = {}
    exec(code, names)
    assert (tmp_path / "shapes.keras").stat().st_size > 100_000
    assert len(names["found"]) == 16 and max(map(len, names["found"])) > 0
    assert names["found"][0].plot().size == (192, 192)


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
    text = text.replace("\\\n", " ")
    return re.findall(r"^\s*(ssd-keras (?:train|evaluate|predict|score|info|data) .*)$", text, re.M)


TEXTS = {name: load_recipe(name).record.command for name in recipe_names()}
TEXTS["README.md"] = README


@pytest.mark.parametrize("name", TEXTS)
def test_documented_commands_parse(name):
    commands = _commands(TEXTS[name])
    assert commands
    for command in commands:
        words = [word for word in shlex.split(command)[1:] if word != "..."]
        assert callable(build_parser().parse_args(words).run)


def test_preset_table_names_every_preset_with_its_default_boxes():
    rows = re.findall(r"^\| `(\w+)` \| (\d+)x(\d+) \| (\d+) \|", README, re.M)
    stated = {name: ((int(h), int(w)), int(boxes)) for name, h, w, boxes in rows}
    assert stated == {p.name: (p.image_size, p.num_default_boxes) for p in PRESETS.values()}
