"""`ssd-keras demo`: its folder, its commands, the gallery and the last lines."""

import json
from argparse import Namespace

import numpy as np
import pytest

from ssd_keras import cli, load_data
from ssd_keras.cli import demo as command
from ssd_keras.cli.parser import build_parser
from ssd_keras.core.images import read_image
from ssd_keras.engine.demo import GALLERY_DATA, NEXT, Demo


def test_the_commands_and_those_for_own_images_parse(tmp_path):
    demo = Demo(str(tmp_path / "my demo"))
    words = [words for _, words in demo.commands()]
    assert [x[0] for x in words] == [
        *("data", "train", "evaluate", "predict", "export", "export", "evaluate"),
    ]
    runs = [build_parser().parse_args(x) for x in [*words, *(text.split() for text in NEXT)]]
    assert runs[1].output == words[2][1] == words[3][1] == str(tmp_path / "my demo" / "run")
    assert (runs[5].quantize, words[6][1]) == ("int8", str(tmp_path / "my demo/detector.tflite"))


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"output '.*' holds files that `ssd-keras demo` did not"):
        Demo(str(tmp_path)).prepare()
    with pytest.raises(ValueError, match=r"'.*holiday.jpg' cannot be written|holds files that"):
        Demo(str(tmp_path / "images" / "holiday.jpg")).prepare()
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "holiday.jpg"]
    assert (tmp_path / "images" / "holiday.jpg").read_bytes() == b"mine"


def test_a_second_demo_replaces_what_the_first_wrote_and_nothing_else(tmp_path):
    folder, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "model.keras").write_text("mine")
    demo = Demo(str(folder))
    demo.prepare()
    (folder / "detector").mkdir()
    (folder / "detector" / "old").write_text("")
    (folder / "gallery.png").write_text("")
    (folder / "notes.txt").write_text("mine")
    (folder / "run").symlink_to(elsewhere)
    demo.prepare()
    names = {path.name for path in folder.iterdir()}
    assert names == {"made_by_ssd_keras_demo.txt", "images", "notes.txt"}
    assert (elsewhere / "model.keras").read_text() == "mine"
    written = {path.stem: read_image(str(path)) for path in (folder / "images").iterdir()}
    assert len(written) == 16
    for example in load_data(GALLERY_DATA):
        np.testing.assert_array_equal(written[str(example.image_id)], example.read_image())


def test_the_gallery_marks_what_is_missed(tmp_path, monkeypatch):
    """All objects are found but two: one not at all, one with a score of 0.4. One is false."""
    drawn = {}
    monkeypatch.setattr("ssd_keras.engine.demo.contact_sheet", lambda x, **words: drawn.update(
        images=x, **words) or x[0])  # fmt: skip
    data = load_data(GALLERY_DATA)
    detections = [
        {"image_id": example.image_id, "category_name": data.class_names[label], "score": 0.9}
        | {"bbox": np.asarray(box, float).tolist()}
        for example in data
        for box, label in zip(example.boxes, example.labels, strict=True)
    ]
    counts = [len(example.labels) for example in data]
    (first, second) = [i for i, count in enumerate(counts) if count > 1][:2]
    del detections[sum(counts[:first])]
    detections[sum(counts[:second]) - 1]["score"] = 0.4
    third = counts.index(0)
    false = {"category_name": data.class_names[0], "score": 0.8, "bbox": [10, 20, 50, 60]}
    detections.append({"image_id": data[third].image_id} | false)
    demo = Demo(str(tmp_path))
    (tmp_path / "detected").mkdir()
    (tmp_path / "detected" / "detections.json").write_text(json.dumps(detections))
    demo.write_gallery()
    height, width, _ = data[0].read_image().shape
    assert read_image(demo.gallery).shape == (height, 2 * width + 6, 3)
    expected = [f"{n} of {n} object{'s' * (n > 1)} found" if n else "no objects" for n in counts]
    for index in (first, second):
        expected[index] = f"{counts[index] - 1} of {counts[index]} objects found"
    expected[third] = "no objects, 1 false"
    assert list(drawn["captions"]) == expected
    assert drawn["title"].endswith("missed objects and false detections, from a score of 0.5 on")
    # The dashed box is drawn, and the box with a score of 0.4 is not: black and white, but where
    # boxes of other objects cross it.
    x, y, width, _ = data[second].boxes[0].astype(int).tolist()
    right = drawn["images"][second][:, -data[second].width :]
    edge = right[y, x + 2 : x + width - 2]
    assert ((edge == 0).all(-1) | (edge == 255).all(-1)).mean() > 0.6


@pytest.mark.parametrize("ap50", [0.962, 0.85])
def test_each_command_is_printed_and_run_and_a_bad_detector_fails(
    ap50, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(Demo, "write_gallery", lambda demo: None)
    demo, done = Demo(str(tmp_path / "demo")), []

    class Parser:
        def parse_args(self, words):
            return Namespace(run=self.run, words=words)

        def run(self, words):
            done.append(words)
            if "--json" in words:
                value = {"AP": 0.6, "AP50": ap50 if demo.run in words else 0.7}
                with open(words[words.index("--json") + 1], "w") as file:
                    json.dump({"coco": value}, file)

    if ap50 < 0.93:
        with pytest.raises(
            ValueError, match=r"has an AP50 of 0\.850; expected 0\.930 or more; report"
        ):
            command.run(demo.output, Parser())
    else:
        command.run(demo.output, Parser())
    printed = capsys.readouterr().out
    assert done == [words for _, words in demo.commands()]
    assert f"$ ssd-keras train --recipe shapes --train-data {GALLERY_DATA[:16]}@train" in printed
    assert f"test images: AP 0.600, AP50 {ap50:.3f}\nthe same as int8 TFLite: AP 0.6" in printed
    assert f"  {demo.gallery}: detections in test images" in printed
    assert printed.endswith("  ssd-keras predict runs/mine FOLDER --output detected\n")


@pytest.mark.slow
def test_the_demo_learns_and_writes_all_that_it_names(tmp_path, capsys):
    output = tmp_path / "demo"
    assert cli.main(["demo", "--output", str(output)]) == 0
    lines = capsys.readouterr().out.partition("look at:\n")[2].partition("\n\n")[0].splitlines()
    named = [line.strip().partition(": ")[0] for line in lines]
    assert len(named) == 7
    for name in named[:-1]:
        assert name.startswith(str(output)) and (output / name).exists(), name
