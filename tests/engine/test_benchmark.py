"""`ssd-keras benchmark`: its numbers are those of `evaluate` and of the file system."""

import dataclasses
import json
import re
import subprocess

import exports
import pytest
from PIL import Image

from ssd_keras import cli, load_data, load_detector
from ssd_keras.data.images import resize_image
from ssd_keras.engine import benchmark as engine
from ssd_keras.engine.benchmark import benchmark, benchmark_table, busy_warning
from ssd_keras.engine.benchmark_process import _size, _times, measure_artefact
from ssd_keras.engine.detector import KerasDetector
from ssd_keras.engine.evaluate import evaluate
from ssd_keras.exporters.saved_model import write_saved_model
from ssd_keras.exporters.tflite import tflite_model

NUM_IMAGES = 6


def write_truth(model, folder):
    """Writes the model's detections, 0.72 times as wide, as COCO data: their IoU is 0.72."""
    images, annotations = [], []
    for number, image in enumerate(exports.images(NUM_IMAGES)):
        name = f"{number}.png"
        Image.fromarray(image).save(folder / name)
        height, width = image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        result = model.detect(image)
        assert len(result) == 10
        edges = result.boxes * [height, width, height, width]
        for (top, left, bottom, right), label in zip(
            edges.tolist(), result.labels.tolist(), strict=True
        ):
            box = [left, top, 0.72 * (right - left), bottom - top]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(model.class_names, 1)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(truth))
    return f"coco:{folder / 'truth.json'}@{folder}"


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """A run, a SavedModel, TFLite files, and data to match."""
    folder = tmp_path_factory.mktemp("artefacts")
    model = exports.lively_model(image_size=(64, 96), width=4)
    model.post_process = dataclasses.replace(
        model.post_process, score_threshold=0.05, max_detections=10, clip_boxes="before"
    )
    (folder / "run").mkdir()
    model.save(folder / "run" / "model.keras")
    (folder / "run" / "state.bin").write_bytes(bytes(1_000_000))
    write_saved_model(model, str(folder / "saved"))
    resized = [resize_image(image, model.image_size).numpy() for image in exports.images()]
    for quantize in ("none", "int8"):
        content = tflite_model(model, quantize, calibration=resized)
        (folder / f"{quantize}.tflite").write_bytes(content)
    (folder / "raw.tflite").write_bytes(tflite_model(model, post_processing="none"))
    (folder / "images").mkdir()
    return folder, write_truth(model, folder / "images")


def test_numbers_are_those_of_evaluate_and_the_files(artefacts):
    folder, data = artefacts
    names = ["run", "saved", "none.tflite", "int8.tflite"]
    paths = [str(folder / name) for name in names]
    result = benchmark(paths, [1], 5, [data], measure=measure_artefact, progress=False)
    rows = result["artefacts"]
    assert [row["path"] for row in rows] == paths
    assert [row["format"] for row in rows] == [
        *("Keras on tensorflow", "saved_model", "tflite", "tflite"),
    ]
    assert (result["num_images"], result["runs"], result["data"]) == (NUM_IMAGES, 5, [data])

    run_file = (folder / "run" / "model.keras").stat().st_size
    saved = sum(file.stat().st_size for file in (folder / "saved").rglob("*") if file.is_file())
    tflite = [(folder / name).stat().st_size for name in names[2:]]
    assert [row["bytes"] for row in rows] == [run_file, saved, *tflite]

    # An IoU of 0.72 is a match at 5 of COCO's 10 thresholds: 0.5, 0.55, 0.6, 0.65, 0.7. Quantised
    # boxes move a little.
    assert [row["AP50"] for row in rows[:3]] == pytest.approx([1.0] * 3, abs=0.02)
    assert [row["AP"] for row in rows[:3]] == pytest.approx([0.5] * 3, abs=0.02)
    assert 0.1 < rows[3]["AP"] < rows[3]["AP50"] < 1.0
    detector = load_detector(paths[3])
    coco = evaluate(detector, load_data(data, class_names=detector.class_names))["coco"]
    assert (rows[3]["AP"], rows[3]["AP50"]) == (coco["AP"], coco["AP50"])
    for row in rows:
        times = [row[f"milliseconds_{name}"] for name in ("least", "p50", "p95", "most")]
        assert 0 < times[0] <= times[1] <= times[2] <= times[3] < 1e3 * 60
        assert 1e3 / times[3] <= row["images_per_second"] * 1.01 <= 1.02 * 1e3 / times[0]
        assert row["load_seconds"] > 1e-3 * times[0]


def test_the_size_of_a_preset_is_that_of_its_weights():
    model = exports.lively_model(image_size=(64, 96), width=4)
    assert _size("name_of_a_preset", KerasDetector(model)) == 4 * model.count_params() > 10_000


def test_quantiles_are_of_the_runs_behind_the_warm_up(monkeypatch):
    """Runs of 1 to 100 ms, and longer ones before."""
    clock, seconds = [0.0], iter([9.0] * 5 + [0.001 * (1 + 37 * i % 100) for i in range(100)])

    def run(detector, images):
        clock[0] += next(seconds)

    process = "ssd_keras.engine.benchmark_process"
    monkeypatch.setattr(f"{process}.detect_images", run)
    monkeypatch.setattr(f"{process}.num_cores", lambda: 2)
    monkeypatch.setattr(f"{process}.machine_seconds", lambda: 1.9 * clock[0])
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("time.process_time", lambda: clock[0])
    assert _times(None, [None] * 3, 100) == {
        "milliseconds_p50": 50.5, "milliseconds_p95": 95.05,
        "milliseconds_least": 1.0, "milliseconds_most": 100.0,
        "images_per_second": 19.8,  # 100 in 5.05 s
        "others_share": 0.45,  # 1.9 cores were busy, this process took 1, of 2
    }  # fmt: skip


def row(path, threads, **changes):
    """What a process answers."""
    return {
        "path": path, "format": "tflite", "threads": threads, "bytes": 1_254_999,
        "load_seconds": 0.349, "milliseconds_p50": 6.25, "milliseconds_p95": 12.34,
        "milliseconds_least": 5.0, "milliseconds_most": 20.0, "images_per_second": 151.84,
        "others_share": 0.01, "class_names": ["cat"], "accelerators": [],
        "versions": {"keras": "3.15.1"},
    } | changes  # fmt: skip


def test_each_artefact_is_measured_with_each_number_of_threads_and_evaluated_once():
    asked = []

    def answer(path, threads, runs, data):
        asked.append((path, threads, runs, data))
        threads = None if path == "jax" else threads  # cannot be set
        known = {"AP": 0.25, "AP50": 0.5, "num_images": 7, "problems": ["a"]} if data else {}
        return row(path, threads, **known)

    result = benchmark(["a", "jax", "b"], (1, 4), 30, ["D"], measure=answer, progress=False)
    assert asked == [
        ("a", 1, 30, ["D"]), ("a", 4, 30, []), ("jax", 1, 30, ["D"]),
        ("b", 1, 30, ["D"]), ("b", 4, 30, []),
    ]  # fmt: skip
    assert [(x["path"], x["threads"], x["AP50"]) for x in result["artefacts"]] == [
        ("a", 1, 0.5), ("a", 4, 0.5), ("jax", None, 0.5), ("b", 1, 0.5), ("b", 4, 0.5),
    ]  # fmt: skip
    assert (result["num_images"], result["problems"]) == (7, ["a"])
    assert json.loads(json.dumps(result)) == result


def test_table_says_what_its_numbers_mean():
    answers = iter([row("a.tflite", 1), row("b", None, format="Keras on jax", others_share=0.3)])
    result = benchmark(["a.tflite", "b"], (1,), 30, measure=lambda **_: next(answers))
    lines = benchmark_table(result).splitlines()
    assert lines[:4] == [
        "| artefact | format | threads | MB | load s | p50 ms | p95 ms | images/s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| a.tflite | tflite | 1 | 1.25 | 0.3 | 6.2 | 12.3 | 151.8 |",
        "| b | Keras on jax | all (cannot be set) | 1.25 | 0.3 | 6.2 | 12.3 | 151.8 |",
    ]
    assert lines[5].startswith("p50, p95: half of the 30 runs took no longer, 95 % took no longer.")
    assert lines[5].endswith("resizing included; generated images.")
    assert re.fullmatch(r".*, \d+ cores; Python 3\.\d+\.\d+, keras 3\.15\.1", lines[-1])
    assert busy_warning(result).startswith("other processes used up to 30% of the cores: ")
    assert busy_warning({"artefacts": [row("a", 1)]}) == ""
    measured = benchmark(
        ["a"], (1,), 30, ["D", "E"], measure=lambda **_: row("a", 1, AP=0.25, AP50=0.5)
    )
    assert benchmark_table(measured).splitlines()[2].endswith(" 151.8 | 0.250 | 0.500 |")
    assert "; images of D E.\n" in benchmark_table(measured)


def test_models_of_other_classes_have_no_common_ap():
    answers = [row("a", 1), row("b", 1, class_names=["cat", "dog"])]
    benchmark(["a", "b"], (1,), measure=lambda path, **_: answers[path == "b"])
    with pytest.raises(ValueError, match=r"'b' has the classes cat, dog; expected cat, as 'a'; "):
        benchmark(["a", "b"], (1,), data=["D"], measure=lambda path, **_: answers[path == "b"])


@pytest.mark.parametrize(
    ("code", "output", "message"),
    [
        (-9, "", r"'a' cannot .*: .* ended with signal 9|'a': its measurement ended with signal 9"),
        (1, "", r"'a' cannot be measured: ImportError: no keras$"),
        (0, 'noise\n{"error": "\'a\' holds no model"}', r"^'a' holds no model$"),
    ],
)
def test_what_a_process_cannot_do_is_said_in_one_line(code, output, message, monkeypatch):
    done = subprocess.CompletedProcess([], code, output, "trace\nImportError: no keras\n")
    monkeypatch.setattr(engine.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(ValueError, match=message):
        benchmark(["a"])


def test_the_command_measures_in_a_process_of_its_own(artefacts, tmp_path, capfd):
    path, output = str(artefacts[0] / "none.tflite"), tmp_path / "deep" / "numbers.json"
    words = ["benchmark", path, "--threads", "1,1", "--runs", "7", "--json", str(output)]
    assert cli.main(words) == 0
    written, printed = json.loads(output.read_text()), capfd.readouterr()
    (measured,) = written["artefacts"]
    assert (measured["threads"], written["runs"], measured["path"]) == (1, 7, path)
    assert benchmark_table(written) == printed.out.rstrip()
    assert measured["bytes"] == (artefacts[0] / "none.tflite").stat().st_size


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("gone.tflite", [], r"'.*gone.tflite' holds no model; pass the output folder"),
        ("images", [], r"'.*images' holds no model; pass the output folder"),
        ("none.tflite", ["voc:no@val"], r"data 'voc:no@val': .*no"),
        ("none.tflite", ["synthetic:shapes@val[:0]"], r"data '.*': split 'val\[:0\]' has 0 im"),
        ("raw.tflite", [], r"'.*raw.tflite' has no post-processing inside"),
    ],
)
def test_bad_input_is_reported(artefacts, name, data, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        measure_artefact(str(artefacts[0] / name), 1, 1, data)


def test_threads_are_whole_numbers(capsys):
    assert cli.main(["benchmark", "a", "--threads", "1,0"]) == 2
    assert "argument --threads: '0' must be a whole number of 1 or more" in capsys.readouterr().err
