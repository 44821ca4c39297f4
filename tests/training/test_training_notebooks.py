"""The notebooks of training: the files, and what their cells compute."""

import ast
import base64
import io
import re

import numpy as np
import pytest
from notebooks import ROOT, assert_is_kept_clean, execute, outputs, printed
from PIL import Image

FOLDER = ROOT / "training" / "notebooks"
PAPER, TRAIN = FOLDER / "the_paper_in_code.ipynb", FOLDER / "train_on_your_own_images.ipynb"
LESS = {"IMAGES": 48, "VALIDATION_IMAGES": 8, "EPOCHS": 2}
KEEP_PAPER = """
np.savez("values.npz", hand=[box_loss, class_loss], losses=losses, default_hand=by_hand,
         default=in_model, kept=kept, objects=len(labels), counts=counts)
"""
KEEP_TRAIN = """
import numpy as np
np.savez("values.npz", losses=history.history["loss"], val_AP=history.history["val_AP"],
         AP=metrics["coco"]["AP"], worst=[m.image_index for m in worst], found=len(found),
         sizes=[len(train), len(validation)], detected=len(detections))
"""
# From the paper and its program.
CONSTANTS = {
    "image's sides": (300, 300),
    "mean colour (red, green, blue)": (123, 117, 104),
    "first scale of conv4_3": 20,
    "sizes of default boxes": (30, 60, 111, 162, 213, 264),
    "smallest and largest scale": (0.2, 0.9),
    "aspect ratios": ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    "steps between cells": (8, 16, 32, 64, 100, 300),
    "centre within the cell": 0.5,
    "variances": (0.1, 0.1, 0.2, 0.2),
    "IoU of a match": 0.5,
    "negatives per match": 3,
    "IoU of crops with an object": [0, 0.1, 0.3, 0.5, 0.7, 0.9],
    "trials of a crop": 50,
    "largest zoom-out": 4,  # of a side: 16 times the area
    "colour around it": (123, 117, 104),
    "batch size": 32,
    "learning rate": 1e-3,
    "momentum": 0.9,
    "weight decay": 5e-4,
    "score threshold": 0.01,
    "IoU threshold of NMS": 0.45,
    "detections per image": 200,
}


@pytest.mark.parametrize("path", [PAPER, TRAIN], ids=lambda path: path.stem)
def test_notebook_is_kept_clean(path):
    assert_is_kept_clean(path)


def run(path, tmp_path_factory, last_cell, replacements=None):
    folder = tmp_path_factory.mktemp(path.stem)
    notebook = execute(path, folder, last_cell, replacements)
    with np.load(folder / "values.npz") as file:
        return notebook, dict(file), folder


def assert_shows_images(notebook, names):
    images = outputs(notebook, "image/png")
    assert list(images) == names
    for content in images.values():
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
        assert min(image.shape[:2]) > 150 and image.std() > 10


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return run(PAPER, tmp_path_factory, KEEP_PAPER)


@pytest.mark.consumers
def test_paper_by_hand_is_what_the_code_computes(paper):
    _, values, _ = paper
    np.testing.assert_allclose(values["hand"], values["losses"], rtol=1e-5)
    np.testing.assert_allclose(values["default_hand"], values["default"], atol=1e-6)
    # 38 * 38 * 4, 19 * 19 * 6, 10 * 10 * 6, 5 * 5 * 6, 3 * 3 * 4, 4
    assert values["counts"].tolist() == [5776, 2166, 600, 150, 36, 4]
    assert values["kept"] == values["objects"] == 7


@pytest.mark.consumers
def test_paper_table_has_the_constants_and_their_files(paper):
    notebook, _, _ = paper
    table = outputs(notebook, "text/markdown")["constants"]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| `([\w/]+\.py)[^`]*` \|$", table, re.M)
    assert {name: ast.literal_eval(value) for name, value, _, _ in rows} == CONSTANTS
    assert all((ROOT / "ssd_keras" / file).is_file() for *_, file in rows)


@pytest.mark.consumers
def test_paper_shows_its_images(paper):
    assert_shows_images(paper[0], ["image", "default-shapes", "match", "mining", "detect"])


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return run(TRAIN, tmp_path_factory, KEEP_TRAIN, LESS)


@pytest.mark.consumers
def test_training_finds_the_planted_mistakes_and_fixes_a_copy(training):
    notebook, values, folder = training
    text = printed(notebook, "check")
    assert re.search(r"boxes with swapped corners: 1 dropped\n.*train_0001\.xml", text)
    assert re.search(r"broken images: 1 dropped\n.*train_0000\.jpg: the JPEG file is cut off", text)
    assert re.search(r"across train and val \(2 images\): 1; .*\n.*train_0002\.jpg: is val_", text)
    # Without the broken image and the copy.
    assert values["sizes"].tolist() == [LESS["IMAGES"] - 2, LESS["VALIDATION_IMAGES"]]
    assert (folder / "images/JPEGImages/train_0000.jpg").stat().st_size == 2000
    assert not (folder / "cleaned/JPEGImages/train_0000.jpg").exists()


@pytest.mark.consumers
def test_training_learns_evaluates_and_shows_its_mistakes(training):
    notebook, values, folder = training
    assert len(values["losses"]) == LESS["EPOCHS"]
    assert values["losses"][1] < 0.9 * values["losses"][0]
    assert values["AP"] == pytest.approx(values["val_AP"][-1], abs=0.02)
    assert values["found"] > 0 and values["detected"] > 6 == len(values["worst"])
    assert re.search(r"train .* 0\.\d{3} -> 0\.\d{3}\n", printed(notebook, "boxes"))
    costs = outputs(notebook, "text/markdown")["errors"]
    assert re.search(r"^\| localisation \| .* \| \d+ \| \d\.\d{3} \|$", costs, re.M)
    report = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/") >= 6
    assert_shows_images(notebook, ["sheet", "fit", "mistakes", "predict"])
