"""A part of batch prediction: rows in both formats, broken images, batches."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from trainings import StubDetector, encoded

from ssd_keras.engine.batch import part_detector as module
from ssd_keras.engine.batch.model_digest import check_model, model_digest
from ssd_keras.engine.batch.part_detector import PartDetector

BOXES = [[0.5, 0.5, 0.75, 1.0], [0.125, 0.25, 0.375, 0.5]]


@pytest.fixture
def detect(monkeypatch):
    """A function that makes a part of locations, and the detector that it uses."""
    detector = StubDetector([(BOXES, [0.75, 0.25], [1, 0])])

    def run(locations, format="jsonl", score_threshold=0.0, batch_size=2):
        options = {"score_threshold": score_threshold, "batch_size": batch_size}
        part = PartDetector("m", "1f", format=format, max_pixels=10**6, num_threads=1, **options)
        return part(list(map(str, locations)))

    monkeypatch.setattr(module, "check_model", lambda model, sha256: None)
    monkeypatch.setattr(module, "load_detector", lambda model, num_threads: detector)
    run.detector = detector
    return run


def write(path, content=None):
    path.write_bytes(encoded() if content is None else content)
    return path


def rows_of(part):
    return [json.loads(line) for line in part.content.splitlines()]


def test_a_row_by_hand(detect, tmp_path):
    path = write(tmp_path / "cat.jpg")  # 100x80 (width x height)
    part = detect([path])
    assert rows_of(part) == [
        {
            "image": str(path),
            "image_id": None,
            "image_is_valid": True,
            "problem": None,
            "height": 80,
            "width": 100,
            # 0.5 * 100, 0.5 * 80, 1.0 * 100, 0.75 * 80
            "boxes_xyxy": [[50.0, 40.0, 100.0, 60.0], [25.0, 10.0, 50.0, 30.0]],
            "scores": [0.75, 0.25],
            "labels": [1, 0],
            "class_names": ["car", "dog"],
        }
    ]
    assert (part.num_images, part.num_invalid, part.num_detections) == (1, 0, 2)
    assert part.problems == []
    (row,) = rows_of(detect([path], score_threshold=0.3))
    assert (row["scores"], row["labels"]) == ([0.75], [1])


def test_parquet_holds_the_rows_of_the_lines(detect, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="NOT TESTED: pyarrow is not installed")
    odd = BOXES[0][:3] + [1 / 3]
    detect.detector.per_image = [(BOXES, [2 / 3, 0.1], [1, 0]), ([], [], []), ([odd], [1 / 7], [1])]
    names = ("a.jpg", "broken.jpg", "b.jpg", "c.jpg")
    paths = [write(tmp_path / name, b"x" * ("broken" in name) or None) for name in names]
    table = parquet.read_table(io.BytesIO(detect(paths, "parquet").content))
    found = table.to_pylist()
    detect.detector.images.clear()
    lines = rows_of(detect(paths))
    assert [row["image_is_valid"] for row in found] == [True, False, True, True]
    for row, line in zip(found, lines, strict=True):
        for name in ("boxes_xyxy", "scores"):
            # The lines have few digits, yet the same float32.
            assert np.array_equal(np.float32(row.pop(name)), np.float32(line.pop(name)))
        assert row == line
    types = {field.name: str(field.type) for field in table.schema}
    assert types["boxes_xyxy"] == "list<element: list<element: float>>"
    assert (types["image_is_valid"], types["labels"]) == ("bool", "list<element: int32>")


def test_broken_images_are_rows_and_the_others_fill_the_batches(detect, tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        type(detect.detector), "__call__",
        lambda self, images, call=StubDetector.__call__: sizes.append(len(images))
        or call(self, images),
    )  # fmt: skip
    dark = io.BytesIO()
    Image.fromarray(np.full((4, 4), 900, np.uint16)).save(dark, "PNG")
    contents = [None, b"no image", None, encoded()[:200], dark.getvalue(), None, None]
    paths = [write(tmp_path / f"{n}.jpg", content) for n, content in enumerate(contents)]
    part = detect([*paths, tmp_path / "gone.jpg"])
    rows = rows_of(part)
    assert [row["image_is_valid"] for row in rows] == [1, 0, 1, 0, 1, 1, 1, 0]
    assert [row["image"] for row in rows] == [*map(str, paths), str(tmp_path / "gone.jpg")]
    assert [len(row["scores"]) for row in rows] == [2, 0, 2, 0, 2, 2, 2, 0]
    assert sizes == [2, 2, 1]  # of five images
    assert (part.num_images, part.num_invalid, part.num_detections) == (8, 3, 10)
    assert rows[1]["problem"].startswith("not an image (it starts with b'no image'); expected")
    assert rows[1]["height"] is None and rows[1]["boxes_xyxy"] == []
    assert rows[3]["problem"] == "the JPEG file is cut off; expected its end mark, copy it again"
    assert rows[4]["problem"].startswith("its levels use 10 of 16 bits")  # read all the same
    assert rows[7]["problem"] == "the image is missing; expected a file there"
    kinds = [problem.kind.name for problem in part.problems]
    assert kinds == ["BROKEN_IMAGE", "BROKEN_IMAGE", "DARK", "MISSING_IMAGE"]
    assert sum(problem.is_loss for problem in part.problems) == 3


def test_a_changed_model_is_noticed(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("model.keras", "history.csv"):
        (run / name).write_text(name)
    digest = model_digest(str(run))
    assert digest == model_digest(str(run / "model.keras"))
    (run / "history.csv").write_text("more")
    check_model(str(run), digest)
    (run / "model.keras").write_text("other")
    with pytest.raises(ValueError, match=r"run' has changed since the start, or is another one on"):
        check_model(str(run), digest)
    saved = tmp_path / "saved"
    (saved / "variables").mkdir(parents=True)
    (saved / "variables" / "data").write_text("1")
    before = model_digest(str(saved))
    (saved / "variables" / "data").write_text("2")
    assert model_digest(str(saved)) != before
    with pytest.raises(FileNotFoundError, match="^model 'gone' does not exist; pass the output fo"):
        model_digest("gone")
