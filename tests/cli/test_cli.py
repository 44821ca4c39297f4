"""The command line: what it prints, its exit status, and one line for every bad input."""

import json
import os
import re
import shutil
import subprocess
import sys
import types

import pytest
from trainings import PLAIN, encoded, finished_run, write_voc

from ssd_keras import cli
from ssd_keras.core import terminal
from ssd_keras.engine.run_lock import run_lock

SMALL = ["--preset", "ssd192_small_shapes", "--set", "schedule.epochs=1"]
SMALL += ["--set", "run.batch_size=4", "--set", "optimizer.name=adamw"]
SMALL += ["--set", "schedule.decay_steps=[]"]
SMALL += [word for name in PLAIN for word in ("--set", f"{name}=false")]
SMALL += ["--set", "model.options.width=4", "--set", "model.options.image_size=[64, 64]"]
INT8 = ["--format", "tflite", "--quantize", "int8"]
TRAIN = ["train", *SMALL, "--train-data", "synthetic:shapes@train[:4]", "--output"]


def call(*words, environment=None):
    """Runs the command in a process of its own, as a user's shell does."""
    # The tests' own choices are no user's.
    hidden = ("TF_CPP_MIN_LOG_LEVEL", "MPLBACKEND")
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [sys.executable, "-m", "ssd_keras", *words],
        capture_output=True,
        text=True,
        env=inherited | (environment or {}),
    )


# Bad inputs. Each function takes a folder to write into and returns the words of the command.


def recipe_file(folder, text):
    path = folder / "recipe.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return ["train", "--recipe", str(path), *TRAIN[1 + len(SMALL) :], str(folder / "run")]


def train_on(folder, *data):
    return ["train", *SMALL, "--train-data", *data, "--output", str(folder / "run")]


def empty_voc(folder):
    spec = write_voc(folder / "voc")
    for name in os.listdir(folder / "voc" / "JPEGImages"):
        os.remove(folder / "voc" / "JPEGImages" / name)
    return train_on(folder, spec)


def broken_image(folder):
    spec = write_voc(folder / "voc")
    (folder / "voc" / "JPEGImages" / "p1.jpg").write_bytes(encoded()[:-20])
    return [*train_on(folder, spec), "--bad-data", "refuse"]


def bad_box(folder):
    spec = write_voc(folder / "voc")
    path = folder / "voc" / "Annotations" / "p0.xml"
    path.write_text(path.read_text().replace("<xmax>60<", "<xmax>11<"))
    return [spec]


def unknown_class(folder):
    known, other = write_voc(folder / "a"), write_voc(folder / "b", objects=["zebra"])
    return [*train_on(folder, known), "--validation-data", other, "--bad-data", "refuse"]


def taken_output(folder):
    (folder / "run").mkdir()
    (folder / "run" / "notes.txt").write_text("mine")
    return [*TRAIN, str(folder / "run")]


def evaluate(folder, content=None, name="model.keras"):
    if content is not None:
        (folder / name).write_bytes(content)
    return ["evaluate", str(folder / name), "--data", "synthetic:shapes@val[:2]"]


def score(folder, content):
    path = folder / "detections.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return ["score", "--detections", str(path), "--data", write_voc(folder / "voc")]


def predict(folder, content=None):
    path = folder / "images" / "a.jpg"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    return ["predict", finished_run(), str(path.parent), "--output", str(folder / "output")]


def detection(**changes):
    return {"image_id": "p0", "category_name": "dog", "bbox": [1, 2, 3, 4], "score": 0.5} | changes


KEEP = ("--score-threshold", "best", "--keep")

BAD_INPUTS = [
    # the recipe
    (
        "unknown preset",
        lambda folder: ["train", "--preset", "ssd300", *TRAIN[1 + len(SMALL) :], f"{folder}/run"],
        r"preset 'ssd300' is unknown; did you mean 'ssd300_vgg16_voc'\? `ssd-keras info .*",
    ),
    (
        "unknown name in --set",
        lambda folder: [*TRAIN, f"{folder}/run", "--set", "optimizer.lr=0.1"],
        r"recipe value 'optimizer\.lr' is unknown; did you mean 'optimizer\.learning_rate'\? .*",
    ),
    (
        "--set of an unknown model option",
        lambda folder: [*TRAIN, f"{folder}/run", "--set", "model.options.widht=4"],
        r"preset 'ssd192_small_shapes': option 'widht' is unknown; did you mean 'width'.*",
    ),
    (
        "--set of an unknown loss",
        lambda folder: [*TRAIN, f"{folder}/run", "--set", "loss.classes=focl"],
        r"class loss 'focl' is unknown; did you mean 'focal'\? choose one of .*",
    ),
    (
        "--set of an unknown option of a loss",
        lambda folder: [*TRAIN, f"{folder}/run", "--set", "loss.classes.gamma=1"],
        r"loss\.classes: option 'gamma' is unknown; choose one of negatives_per_positive, .*",
    ),
    (
        "--set of an option of a loss with a value of another type",
        lambda folder: (
            [*TRAIN, f"{folder}/run", "--set", "loss.classes=focal"]
            + ["--set", "loss.classes.gamma=high"]
        ),
        r"loss\.classes\.gamma is 'high'; expected a finite number\.",
    ),
    (
        "--set of a model option with a value of another type",
        lambda folder: [*TRAIN, f"{folder}/run", "--set", "model.options.width=wide"],
        r"preset 'ssd192_small_shapes': width is 'wide'; expected a whole number\.",
    ),
    (
        "missing recipe file",
        lambda folder: ["train", "--recipe", "gone.toml", *TRAIN[1 + len(SMALL) :], f"{folder}/r"],
        r"recipe 'gone\.toml' does not exist; choose one of `ssd-keras info recipes`, or pass .*",
    ),
    (
        "unknown recipe",
        lambda folder: ["train", "--recipe", "own_dta", *TRAIN[1 + len(SMALL) :], f"{folder}/run"],
        r"recipe 'own_dta' is unknown; did you mean 'own_data'\? `ssd-keras info recipes` lists .*",
    ),
    (
        "recipe that is not TOML",
        lambda folder: recipe_file(folder, "RECIPE = ("),
        r"recipe '.*recipe\.toml' is not TOML \(Invalid value \(at line 1, column 10\)\); corre.*",
    ),
    (
        "recipe that is binary",
        lambda folder: recipe_file(folder, b"\x80\x00\xff"),
        r"recipe '.*recipe\.toml' is not TOML \('utf-8' codec can't decode byte 0x80 .*",
    ),
    (
        "recipe that is empty",
        lambda folder: recipe_file(folder, ""),
        r"recipe '.*recipe\.toml': model is missing; add it\.",
    ),
    (
        "recipe with an unknown group",
        lambda folder: recipe_file(folder, "[optimiser]\nname = 'adamw'"),
        r"recipe '.*recipe\.toml': group 'optimiser' is unknown; did you mean 'optimizer'\? .*",
    ),
    (
        "a RUN folder without a recipe",
        lambda folder: ["train", "--recipe", str(folder), *TRAIN[1 + len(SMALL) :], f"{folder}/r"],
        r"recipe '.*recipe\.toml' does not exist; choose one of .*",
    ),
    # the data
    (
        "missing data folder",
        lambda folder: train_on(folder, f"voc:{folder}/gone@train"),
        r"data 'voc:.*gone@train': the folder .*gone does not exist; expected Annotations and .*",
    ),
    (
        "a part of data that is refused",
        lambda folder: ["data", "check", *bad_box(folder), "--bad-data", "refuse"],
        r".*p0\.xml: object 1 \(dog\): box .* has no area; .*; correct the data, or .*",
    ),
    (
        "unknown data format",
        lambda folder: train_on(folder, "pascal:somewhere@train"),
        r"data 'pascal:somewhere@train': unknown format 'pascal'; expected such as voc:.*",
    ),
    (
        "missing split",
        lambda folder: train_on(folder, write_voc(folder / "voc").replace("@train", "@trian")),
        r"data 'voc:.*@trian': no split file .*trian\.txt; did you mean 'train'\? "
        "expected one of the splits there: train, or all for all images",
    ),
    (
        "empty image folder",
        empty_voc,
        r"data 'voc:.*@train': no image is left; expected at least one that can be used; the "
        r"first problem: .*p0\.jpg: the image is missing; .*",
    ),
    (
        "broken image under --bad-data refuse",
        broken_image,
        r".*p1\.jpg: the JPEG file is cut off; .*; correct the data, or pass bad_data='drop' .*",
    ),
    (
        "unknown class under --bad-data refuse",
        unknown_class,
        r".*p0\.xml: object 1 \(zebra\): unknown class 'zebra'; expected one of dog .*",
    ),
    # the RUN folder
    (
        "output folder taken",
        taken_output,
        r"output '.*run' is not an empty folder; choose another, or pass --resume to continue "
        r"the training in it\.",
    ),
    (
        "resume in a folder of another kind",
        lambda folder: [*taken_output(folder), "--resume"],
        r"output '.*run' is no RUN folder, and not empty; choose another\.",
    ),
    (
        "resume with another recipe",
        lambda folder: [*TRAIN, finished_run(), "--resume"],
        r"the training in '.*run' was started with another recipe \(see its recipe\.toml\); .*",
    ),
    # the model
    (
        "model path that does not exist",
        lambda folder: evaluate(folder),
        r"'.*model\.keras' holds no model; pass the output folder of `ssd-keras train` .*",
    ),
    (
        "folder without a model",
        lambda folder: ["info", str(folder)],
        r"'.*' holds no model; pass the output folder of `ssd-keras train` .*",
    ),
    (
        "model file that is no model",
        lambda folder: evaluate(folder, b"no model at all"),
        r"'.*model\.keras' is not a Keras model; pass a \.keras file that .* wrote\.",
    ),
    (
        "thresholds to keep in no model file",
        lambda folder: [*evaluate(folder, b"TFL3", "a.tflite"), *KEEP],
        r"'.*a\.tflite' is an export, whose thresholds are the model's; thresholds are kept in .*",
    ),
    (
        "thresholds to keep that are none",
        lambda folder: [*evaluate(folder), KEEP[-1]],
        "--keep is given without thresholds to keep; pass --score-threshold best, or a number.",
    ),
    (
        "a recipe for a model",
        lambda folder: ["info", "own_data"],
        r"'own_data' is a recipe, not a model; .* `ssd-keras info recipe own_data` .*",
    ),
    (
        "info on no recipe",
        lambda folder: ["info", "recipe"],
        r"`ssd-keras info recipe` needs a name; pass one of `ssd-keras info recipes`, .*",
    ),
    (
        "info on two things",
        lambda folder: ["info", "presets", "own_data"],
        r"'own_data' is one word too many; `ssd-keras info presets` takes none after it\.",
    ),
    (
        "int8 without images",
        lambda folder: ["export", "gone.keras", *INT8, "--output", f"{folder}/x.tflite"],
        r"int8 needs images to calibrate on; pass calibration data, such as the training data "
        r"\(--calibration-data\)\.",
    ),
    (
        "an export to a wrong place, of a model that is not there",
        lambda folder: ["export", "gone.keras", "--format", "tflite", "--output", f"{folder}/x"],
        r"output '.*x' does not fit the format tflite; pass a file ending in \.tflite\.",
    ),
    (
        "neither model nor preset",
        lambda folder: ["info", "ssd300"],
        r"'ssd300' does not exist; did you mean 'ssd300_vgg16_voc'\? `ssd-keras info presets` .*",
    ),
    # detections
    (
        "missing detections file",
        lambda folder: ["score", "--detections", "gone.json", "--data", "synthetic:shapes@val[:2]"],
        r"gone\.json: cannot be read \(No such file or directory\); expected a JSON list .*",
    ),
    (
        "detections that are not JSON",
        lambda folder: score(folder, "image_id,score"),
        r".*detections\.json: is not JSON \(.*\); expected a list of detections; write .*",
    ),
    (
        "unknown image_id",
        lambda folder: score(folder, [detection(), detection(image_id="p9")]),
        r".*detections\.json: entry 1: image_id 'p9' is unknown; expected an id of the data, .*",
    ),
    (
        "unknown class in the detections",
        lambda folder: score(folder, [detection(category_name="zebra")]),
        r".*detections\.json: entry 0: category_name 'zebra' is unknown; expected one of .*",
    ),
    # images
    (
        "image folder without images",
        lambda folder: predict(folder),
        r"folder '.*images' holds no image; expected files that end in \.jpg, .*",
    ),
    (
        "missing image",
        lambda folder: ["predict", finished_run(), "gone.jpg", "--output", f"{folder}/output"],
        r"image 'gone\.jpg' does not exist; pass a file, a folder or a pattern such as '.*\.",
    ),
    (
        "no image that can be read",
        lambda folder: predict(folder, b"no image"),
        r"none of 1 images could be read; .*a\.jpg: not an image \(it starts with .*",
    ),
    (
        "only images above the limit",
        lambda folder: [*predict(folder, encoded()), "--max-pixels", "5000"],
        r"none of 1 images could be read; .*a\.jpg: has 0\.008 megapixels; more than 0\.005 are .*",
    ),
    (
        "drawings over the images",
        lambda folder: [*predict(folder, encoded())[:-1], str(folder / "images")],
        r"output '.*images' holds the image 'a\.jpg', which a drawing might overwrite; .*",
    ),
    (
        "drawing in a format that cannot be written",
        lambda folder: (
            ["data", "show", "synthetic:shapes@val[:2]", "--preset"]
            + ["ssd192_small_shapes", "--count", "1", "--output", f"{folder}/sheet.tiff"]
        ),
        r".*sheet\.tiff: images cannot be written as '\.tiff'; expected \.png, .*",
    ),
]


@pytest.mark.parametrize(
    ("words", "message"), [case[1:] for case in BAD_INPUTS], ids=[case[0] for case in BAD_INPUTS]
)
def test_a_bad_input_gives_one_line(tmp_path, capfd, words, message):
    arguments = words(tmp_path)
    capfd.readouterr()  # what a model that was trained first has printed
    assert cli.main(arguments) == 2
    error = capfd.readouterr().err
    assert re.fullmatch(rf"ssd-keras: {message}\n", error), error


def test_errors_of_the_program_itself_are_one_line_too(tmp_path, capsys, monkeypatch):
    from ssd_keras.data import sources

    def fail(*arguments, **options):
        raise RuntimeError("two\n  lines")

    monkeypatch.setattr(sources, "load_data", fail)
    monkeypatch.delenv("SSD_KERAS_TRACEBACK", raising=False)
    assert cli.main([*TRAIN, str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == "ssd-keras: two lines\n"
    monkeypatch.setenv("SSD_KERAS_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        cli.main([*TRAIN, str(tmp_path / "run")])


def test_an_interruption_tells_how_to_go_on(tmp_path, capsys, monkeypatch):
    from ssd_keras.engine import train

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train", interrupt)
    assert cli.main([*TRAIN, str(tmp_path / "run")]) == 2
    message = "interrupted; `train` and `predict --format parquet` go on with --resume"
    assert capsys.readouterr().err == f"ssd-keras: {message}\n"


# Good inputs


def test_train_evaluate_and_score_in_one_process(tmp_path, capsys):
    spec = write_voc(tmp_path / "voc", objects=("dog", "car"), count=5)
    (tmp_path / "voc" / "JPEGImages" / "p4.jpg").write_bytes(b"")
    run = str(tmp_path / "run")
    words = ["--train-data", spec, "--validation-data", spec, "--output", run]
    assert cli.main(["train", *SMALL, *words]) == 0
    printed = capsys.readouterr()
    assert re.fullmatch(
        r"4 images, 2 classes, preset ssd192_small_shapes\n"
        rf"1 epoch of 1 step in batches of 4 images; curves: {run}/curves\.png\n"
        r"validation on 4 images after each epoch; the best model is kept\n"
        r"best: AP 0\.\d{3}, AP50 0\.\d{3} after epoch 1\n"
        rf"the model is {run}/model\.keras; what can be done with it:\n"
        rf"  ssd-keras evaluate {run} --data {spec} --plots {run}/report\n"
        rf"  ssd-keras predict {run} IMAGES --output {run}/images\n"
        rf"  ssd-keras export {run} --format tflite --output model\.tflite\n",
        printed.out,
    )
    # Once for the training data and once for the validation data.
    note = "p4.jpg: the file is empty; expected an image; dropped"
    *notes, epoch = printed.err.splitlines()
    assert [line.endswith(note) for line in notes] == [True, True]
    assert re.fullmatch(r"epoch 1/1: loss \d+\.\d\d, AP 0\.\d{3}, AP50 0\.\d{3}", epoch)

    numbers = tmp_path / "numbers.json"
    assert cli.main(["evaluate", run, "--data", spec, "--json", str(numbers)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("4 images; numbers in percent\n")
    assert "\nfrom a score of 0.5 on: precision " in printed
    assert "images a second, reading included" in printed
    metrics = json.loads(numbers.read_text())
    assert metrics["num_images"] == 4
    assert {"coco", "voc07", "voc12", "images_per_second"} <= metrics.keys()

    words = ["--data", spec, "--score-threshold", "0.125", "--keep"]
    assert cli.main(["evaluate", run, *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("dog", "car"))][2:] == [
        ["car", "0.125"],
        ["dog", "0.125"],
    ]
    assert lines[-1] == f"wrote the thresholds into {run}/model.keras"
    assert cli.main(["info", run]) == 0
    assert "\ndisplay thresholds: car 0.125, dog 0.125\n" in capsys.readouterr().out
    assert cli.main(["evaluate", run, run, "--data", spec, "--json", str(numbers)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"first: {run}, second: {run}"
    assert lines[3].split()[3:] == ["0.00", "0.00", "to", "0.00"]
    (compared,) = json.loads(numbers.read_text())["comparisons"]
    assert set(compared["classes"]) == {"car", "dog"}
    assert compared["all"]["AP"]["first"] == metrics["coco"]["AP"]
    assert cli.main(["evaluate", run, run, *words]) == 2
    assert (
        "--score-threshold, --keep, --plots and --ray are of one model; " in capsys.readouterr().err
    )
    with run_lock(run):
        assert cli.main(["evaluate", run, *words]) == 2
    assert re.fullmatch("ssd-keras: output '.*run' is in use: .*\n", capsys.readouterr().err)


def test_score_needs_no_images(tmp_path, capsys):
    words = score(tmp_path, [detection(bbox=[10, 20, 50, 40])])
    shutil.rmtree(tmp_path / "voc" / "JPEGImages")
    assert cli.main([*words, "--json", str(tmp_path / "numbers.json")]) == 0
    assert capsys.readouterr().out.startswith("2 images; numbers in percent\n")
    metrics = json.loads((tmp_path / "numbers.json").read_text())
    # One of two dogs found, the only detection: 6 of 11 points.
    assert metrics["voc07"]["mAP"] == pytest.approx(6 / 11)
    assert metrics["voc12"]["mAP"] == pytest.approx(0.5)


def test_results_are_written_though_the_reader_of_the_output_has_left(tmp_path, monkeypatch):
    words = [*score(tmp_path, [detection()]), "--json", str(tmp_path / "numbers.json")]
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main([*words, "--plots", str(tmp_path / "plots")]) == 0
        monkeypatch.undo()
    assert json.loads((tmp_path / "numbers.json").read_text())["num_images"] == 2
    assert (tmp_path / "plots" / "report.html").exists()


def test_predict_writes_images_and_tells_what_it_left_out(tmp_path, capsys):
    words = predict(tmp_path, encoded())
    for number in range(14):
        (tmp_path / "images" / f"bad{number}.jpg").write_bytes(b"")
    words += ["--display-threshold", "0.99", "--format", "yolo"]
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    assert sorted(os.listdir(tmp_path / "output")) == ["a.jpg", "detections.json", "yolo"]
    detections = json.loads((tmp_path / "output" / "detections.json").read_text())
    assert {one["image_id"] for one in detections} == {"a"}
    assert printed.out == (
        f"wrote 1 image to {tmp_path}/output; 0 of {len(detections)} detections are drawn, from a "
        "score of 0.99 on; detections.json lists all\n"
        "wrote 0 boxes from a score of 0.99 on as annotations; read them as "
        f"'yolo:{tmp_path}/output/yolo@train'\n"
    )
    (line,) = printed.err.splitlines()
    assert line.startswith("note: broken images: 14 images dropped; first ")
    assert cli.main(words) == 2  # the annotations may have been corrected since
    assert "yolo' is not an empty folder; choose another" in capsys.readouterr().err


def test_data_show_draws_the_asked_number_of_images(tmp_path, capsys):
    from PIL import Image

    path = tmp_path / "sheet.png"
    words = ["data", "show", "synthetic:shapes@train[:8]", "--preset", "ssd192_small_shapes"]
    assert cli.main([*words, "--count", "3", "--output", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    with Image.open(path) as sheet:
        width, height = sheet.size
    # Three pairs, two in a row.
    assert 4 * 192 <= width < 5 * 192 and 2 * 192 <= height < 3 * 192


def test_info_describes_presets_and_models(capsys):
    assert cli.main(["info", "presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ssd300_vgg16_voc: 300x300, 20 classes, 8732 default boxes; report")
    small = "ssd192_small_shapes: 192x192, 5 classes, 3060 default boxes;"
    assert sum(line.startswith(small) for line in lines) == 1
    # Maps of 8x8, 4x4, 2x2 and 1x1 cells with 4 boxes each: 4 * (64 + 16 + 4 + 1) = 340.
    cases = (
        ("ssd192_small_shapes", "192x192, feature maps 24x24, 12x12, 6x6, 3x3", 3060),
        (finished_run(), "64x64, feature maps 8x8, 4x4, 2x2, 1x1", 340),
    )
    for name, sizes, count in cases:
        capsys.readouterr()
        assert cli.main(["info", name]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(f"ssd192_small_shapes: input {sizes}\n{count} default boxes, ")
        assert "\n5 classes: circle, square, triangle, star, cross\n" in printed


# A process of its own


def test_tensorflow_greets_nobody(tmp_path):
    words = predict(tmp_path, encoded())
    done = call(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("wrote 1 image to ")


def test_a_terminal_is_told_of_the_wait_for_tensorflow(capsys, monkeypatch):
    shown = []
    fake = types.SimpleNamespace(import_module=lambda _: shown.append(capsys.readouterr().err))
    monkeypatch.setattr(terminal, "importlib", fake)
    monkeypatch.setenv("SSD_KERAS_PROGRESS", "1")
    terminal.start_tensorflow()  # is imported already
    monkeypatch.delitem(sys.modules, "tensorflow")
    terminal.start_tensorflow()
    monkeypatch.delenv("SSD_KERAS_PROGRESS")
    terminal.start_tensorflow()
    assert shown == ["", "starting TensorFlow ...", f"\r{' ' * 23}\r"]
    assert capsys.readouterr().err == ""


def test_a_failure_in_a_process_of_its_own_is_one_line(tmp_path):
    done = call(*evaluate(tmp_path, b"no model at all"))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"ssd-keras: '.*' is not a Keras model; .*\n", done.stderr)


@pytest.mark.slow
def test_the_command_works_on_jax(tmp_path):
    run, numbers = str(tmp_path / "run"), tmp_path / "numbers.json"
    jax = {"KERAS_BACKEND": "jax"}
    words = ["--validation-data", "synthetic:shapes@val[:4]"]
    done = call(*TRAIN, run, *words, environment=jax)
    assert (done.returncode, done.stderr) == (0, "")
    assert "best: AP 0." in done.stdout
    # What one backend has trained, both measure alike.
    found = {}
    for backend in ("jax", "tensorflow"):
        words = ["--data", "synthetic:shapes@val[:4]", "--json", str(numbers)]
        done = call("evaluate", run, *words, environment={"KERAS_BACKEND": backend})
        assert (done.returncode, done.stderr) == (0, "")
        found[backend] = json.loads(numbers.read_text())["coco"]
    assert found["jax"] == pytest.approx(found["tensorflow"], abs=1e-3)
    resumed = call(*TRAIN, run, "--resume", environment=jax)
    assert (resumed.returncode, resumed.stderr) == (0, "")
