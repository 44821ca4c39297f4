"""The notebook to phone and server: the file, and what its cells compute on less data."""

import numpy as np
import pytest
from notebooks import ROOT, assert_is_kept_clean, execute

from ssd_keras.boxes.iou import pairwise_iou

NOTEBOOK = ROOT / "export" / "notebooks" / "to_phone_and_server.ipynb"
LESS = {"IMAGES": 64, "EPOCHS": 3, "TEST_IMAGES": 8}
# Runs as the last cell and stores variables for the tests.
KEEP = """
names_of_arrays = ("boxes", "scores", "labels")
values = {f"keras/{name}": getattr(keras_found, name) for name in names_of_arrays}
values |= {f"served/{name}": value for name, value in served.items()}
for file, outputs in litert_found.items():
    values |= {f"{file}/{name}": value[0] for name, value in outputs.items()}
(rounded,) = model.detect(np.rint(resized).astype("uint8"))
values |= {f"rounded/{name}": getattr(rounded, name) for name in names_of_arrays}
values |= {"mediapipe/boxes": boxes, "mediapipe/names": names, "mediapipe/scores": scores}
values |= {f"results/{name}": value for name, value in results.items()}
np.savez("values.npz", losses=history.history["loss"], class_names=model.class_names,
         **{k: v.astype("S") if getattr(v, "dtype", 0) == object else v for k, v in values.items()})
"""


def test_notebook_is_kept_clean():
    assert_is_kept_clean(NOTEBOOK)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs, its variables, and the folder it ran in."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = execute(NOTEBOOK, folder, KEEP, LESS)
    with np.load(folder / "values.npz") as file:
        values = dict(file)
    return notebook, values, folder


def group(values, prefix):
    """The values whose names begin with `prefix/`, without it."""
    return {
        name.partition("/")[2]: v for name, v in values.items() if name.startswith(f"{prefix}/")
    }


def detections(found):
    """Keras' boxes, scores, labels."""
    return [found[name] for name in ("boxes", "scores", "labels")]


def share_found(boxes, scores, labels, exported, min_iou, tolerance):
    """Share of detections that the export has too, in any order: box, score and class agree."""
    same_box = np.asarray(pairwise_iou(boxes, exported["detection_boxes"])) >= min_iou
    same_score = np.abs(scores[:, None] - exported["detection_scores"]) <= tolerance
    same_class = labels[:, None] == exported["detection_classes"]
    return (same_box & same_score & same_class).any(axis=1).mean()


@pytest.mark.consumers
def test_training_learned_something(executed):
    _, values, _ = executed
    losses = values["losses"]
    assert len(losses) == LESS["EPOCHS"] and losses[-1] < 0.8 * losses[0]


@pytest.mark.consumers
def test_server_gives_what_keras_gives_on_the_same_jpeg(executed):
    _, values, _ = executed
    found, served = group(values, "keras"), group(values, "served")
    count = len(found["scores"])
    assert 0 < count == served["num_detections"] and served["image_is_valid"]
    assert 0.02 < found["scores"][0] <= 1
    assert share_found(*detections(found), served, 0.98, 1e-3) >= 0.98
    names = values["class_names"][served["detection_classes"][:count]]
    assert (served["detection_class_names"][:count].astype(str) == names).all()


@pytest.mark.consumers
def test_litert_gives_what_keras_gives_on_the_same_bytes(executed):
    _, values, _ = executed
    found, lite = group(values, "rounded"), group(values, "detector")
    assert 0 < len(found["scores"]) == lite["num_detections"]
    assert share_found(*detections(found), lite, 0.98, 1e-3) >= 0.98


@pytest.mark.consumers
def test_mediapipe_finds_what_int8_found(executed):
    _, values, _ = executed
    found, lite = group(values, "mediapipe"), group(values, "detector_int8")
    names = list(values["class_names"])
    assert names == ["circle", "square", "triangle", "star", "cross"]
    assert len(found["boxes"]) == 20 and set(found["names"]) <= set(names)
    labels = np.array([names.index(name) for name in found["names"]])
    # MediaPipe resizes differently and rounds boxes to pixels; where scores are nearly equal,
    # NMS may keep another box.
    assert share_found(found["boxes"], found["scores"], labels, lite, 0.7, 0.05) >= 0.6


@pytest.mark.consumers
def test_table_has_the_sizes_of_the_files(executed):
    notebook, values, folder = executed
    results = group(values, "results")
    exported = folder / "exported"
    saved = sum(f.stat().st_size for f in (exported / "detector/1").rglob("*") if f.is_file())
    sizes = {name: (exported / name).stat().st_size for name in results if "." in name}
    sizes["detector/1"] = saved
    assert len(results) == 4 and {n: v[1] * 1e6 for n, v in results.items()} == pytest.approx(sizes)
    assert sizes["detector_int8.tflite"] < 0.4 * sizes["detector.tflite"]
    (table,) = (
        output.data["text/markdown"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "text/markdown" in output.get("data", {})
    )
    ap, size, milliseconds = results["detector_int8.tflite"]
    assert f"| detector_int8.tflite | {ap:.3f} | {size:.2f} | {milliseconds:.1f} |" in table
    assert milliseconds > 0


@pytest.mark.consumers
def test_images_are_shown(executed):
    notebook, _, _ = executed
    shown = [
        cell.id
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert shown == ["detect", "litert", "mediapipe"]
