"""Files beside data sets that users get from strangers: good ones, damaged ones, what reads them.

Each kind writes a good file into a folder; one of its targets is damaged; `use` reads it as the
package does, and returns what is wrong with what was accepted.
"""

import functools
import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from pth_files import pth_file

from fuzz.corpus import image, write_coco
from fuzz.mutations import mutate
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.images import read_image
from ssd_keras.core.text import is_plain_text
from ssd_keras.data import load_data
from ssd_keras.data.readers.label_map import read_label_map
from ssd_keras.engine.detector import load_detector
from ssd_keras.engine.evaluate import score
from ssd_keras.engine.recipes import override, parse_recipe
from ssd_keras.engine.run_directory import RunDirectory, TrainingState
from ssd_keras.exporters.tflite import tflite_model
from ssd_keras.importers.pth import read_pth
from ssd_keras.models.backbones.weights import load_weights
from ssd_keras.models.ssd import SSD

CLASSES = ("dog", "traffic light")
SIDE = 16
RECIPE = """version = 1
[model]
preset = "ssd192_small_shapes"
options = {image_size = [64, 64], width = 4}
[augmentation]
flip = true
[assigner]
type = "max_iou"
threshold = 0.5
[loss]
boxes = {type = "giou"}
classes = {type = "focal", gamma = 2.0}
[optimizer]
name = "adamw"
learning_rate = 3e-3
[schedule]
name = "cosine"
epochs = 2
[run]
batch_size = 8
validate_every = 2
"""
OVERRIDES = """optimizer.learning_rate=0.002
model.options.width=8
loss.classes={type = "focal", gamma = 1.5}
schedule.steps=100
run.seed=4
augmentation.zoom_out=false
"""
WEIGHTS = "model.weights.h5"
PTH_ENTRIES = ("archive/data.pkl",) * 6 + ("archive/data/0", "archive/byteorder")
PTH_NUMBERS = {"layer1.0.conv1.weight": 96, "bn1.running_mean": 8, "half": 5}


@dataclass(frozen=True)
class FileKind:
    """A kind of input: writes good files into a folder, and reads them."""

    write: Callable[[Path], object]
    targets: Sequence[str]  # files of which one is damaged
    use: Callable[[Path], list[str]]  # faults of what was accepted


def write_damaged(kind: str, seed: int, number: int, folder: Path) -> None:
    """Writes the files of a kind, one of them damaged: a function of kind, seed and number."""
    chance = random.Random(f"{seed} {kind} {number}")
    FILE_KINDS[kind].write(folder)
    target = folder / chance.choice(FILE_KINDS[kind].targets)
    content = target.read_bytes()
    if content.startswith(b"PK") and chance.random() < 0.85:
        target.write_bytes(_damaged_archive(content, chance))
    elif target.suffix == ".tflite" and chance.random() < 0.6:
        target.write_bytes(_with_other_bytes(content, chance))
    else:
        target.write_bytes(mutate(content, chance, _is_text(target.name)))


def _with_other_bytes(content: bytes, chance: random.Random) -> bytes:
    """Changes one to eight bytes, so that most files stay readable."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        changed[chance.randrange(len(changed))] = chance.choice((0, 1, 127, 128, 255))
    return bytes(changed)


def _is_text(name: str) -> bool:
    return name.endswith((".json", ".toml", ".txt", ".pbtxt", ".csv"))


def _damaged_archive(content: bytes, chance: random.Random) -> bytes:
    """Damages one entry of a zip archive, with the right checksum."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    of_keras = ("config.json", "config.json", WEIGHTS, WEIGHTS, "metadata.json")
    name = chance.choice(of_keras if WEIGHTS in entries else PTH_ENTRIES)
    if name == WEIGHTS and chance.random() < 0.3:
        entries[name] = _with_strange_number(entries[name], chance)
    else:
        entries[name] = mutate(entries[name], chance, _is_text(name))
    return _archive(entries)


def _archive(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def _with_strange_number(content: bytes, chance: random.Random) -> bytes:
    """Puts a number that is not finite, or very large, into the weights of an HDF5 file."""
    import h5py

    file = io.BytesIO(content)
    with h5py.File(file, "r+") as weights:
        arrays: list[Any] = []
        weights.visititems(lambda _, each: arrays.append(each) if hasattr(each, "shape") else None)
        array = chance.choice([each for each in arrays if each.size and each.dtype.kind == "f"])
        values = np.array(array)
        values.flat[chance.randrange(values.size)] = chance.choice((np.nan, np.inf, -np.inf, 3e38))
        array[...] = values
    return file.getvalue()


# Models


@functools.cache
def model() -> SSD:
    """Returns a tiny compiled model."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(4, 3, 4, padding="same", use_bias=False, name="conv1")(pixels)
    x = keras.layers.BatchNormalization(name="norm1")(x)
    x = keras.layers.Activation("relu", name="relu1")(x)
    y = keras.layers.Conv2D(4, 3, 2, padding="same", name="conv2")(x)
    backbone = keras.Model(pixels, [x, y], name="tiny")
    boxes = DefaultBoxes.from_scales((SIDE, SIDE), 2)
    detector = SSD(backbone, boxes, CLASSES, (SIDE, SIDE), preprocessor={"scale": 1 / 255})
    detector.compile()
    detector.optimizer.build(detector.trainable_variables)
    return detector


@functools.cache
def _saved(suffix: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"a{suffix}")
        if suffix == ".keras":
            model().save(path)
        else:
            model().backbone.save_weights(path)
        return Path(path).read_bytes()


@functools.cache
def _exported() -> bytes:
    return tflite_model(model())


def _writer(name: str, content: Callable[[], bytes]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content())

    return write


def _detector_faults(path: Path) -> list[str]:
    """Loads a detector, and detects in an image."""
    detector = load_detector(str(path))
    faults = [f"class name {name!r}" for name in detector.class_names if not is_plain_text(name)]
    pixels = np.random.default_rng(0).integers(0, 256, (1, *detector.image_size, 3), "uint8")
    found = {name: np.asarray(value) for name, value in detector(pixels).items()}
    count = int(found["num_detections"][0])
    boxes, scores, labels = (found[name][0][:count] for name in ("boxes", "scores", "labels"))
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        faults.append(f"boxes {boxes} of scores {scores}")
    if ((labels < 0) | (labels >= len(detector.class_names))).any():
        faults.append(f"labels {labels}")
    return faults + _weight_faults(getattr(detector, "model", None))


def _weight_faults(network: keras.Model | None) -> list[str]:
    weights = network.get_weights() if network is not None else []
    return [] if all(np.isfinite(each).all() for each in weights) else ["weights not finite"]


def _backbone_faults(path: Path) -> list[str]:
    network = keras.models.clone_model(model().backbone)
    load_weights(network, str(path))
    return _weight_faults(network)


def _pth(is_zipped: bool) -> bytes:
    arrays = {name: np.arange(count, dtype="float32") for name, count in PTH_NUMBERS.items()}
    arrays["half"] = arrays["half"].astype("float16")
    arrays["layer1.0.conv1.weight"] = arrays["layer1.0.conv1.weight"].reshape(4, 3, 2, 4)
    return pth_file(arrays, is_zipped)


def _pth_faults(path: Path) -> list[str]:
    arrays = read_pth(str(path))
    faults = [f"{each.dtype}" for each in arrays.values() if each.dtype != np.float32]
    taken = sum(each.size * each.itemsize for each in arrays.values())
    if taken > 4 * path.stat().st_size:
        faults.append(f"{taken} bytes")
    return faults


# Runs


@functools.cache
def _run_recipe() -> Any:
    return parse_recipe(RECIPE.encode(), "the fuzzer's")


def _write_run(folder: Path) -> None:
    history = [{"epoch": n, "learning_rate": 0.1, "loss": 2.5, "val_AP": 0.25} for n in (1, 2)]
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(_run_recipe().to_toml())
    (folder / "class_names.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    state = {"epoch": 2, "best": 0.25, "history": history, "model_file": "state-2.keras"}
    (folder / "state.json").write_text(json.dumps(state | {"length": [4, 7]}))
    (folder / "history.csv").write_text("epoch,loss\n1,2.5\n2,2.5\n")
    for name in ("state-2.keras", "model.keras"):
        (folder / name).write_bytes(_saved(".keras"))


def _run_faults(folder: Path) -> list[str]:
    """Resumes a run, and loads its model."""
    run = RunDirectory(str(folder))
    state = run.open(_run_recipe(), CLASSES, resume=True)
    faults = [] if isinstance(state, TrainingState) else [f"state {state!r}"]
    if state.epoch:
        if state.model_file != os.path.basename(state.model_file):
            faults.append(f"a model elsewhere: {state.model_file!r}")
        faults += _weight_faults(run.load_state_model(state))
    return faults + _detector_faults(folder)


# Other files


def _image_faults(path: Path) -> list[str]:
    pixels = read_image(str(path))
    is_right = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    return [] if is_right and pixels.size else [f"pixels {pixels.dtype} {pixels.shape}"]


def _write_detections(folder: Path) -> None:
    write_coco(folder / "data")
    entries = [
        {"image_id": 1 + n, "category_id": 18, "bbox": [2.5, 3, 20.25, 10], "score": 0.75 - n / 8}
        for n in range(2)
    ]
    entries += [{"image_id": 1, "category_name": "dog", "bbox": [1, 1, 9, 9], "score": 0.5}]
    (folder / "detections.json").write_text(json.dumps(entries, indent=1))


def _score_faults(folder: Path) -> list[str]:
    data = load_data(f"coco:{folder}/data/instances.json@{folder}/data/images")
    metrics = score(str(folder / "detections.json"), data)
    values = [metrics["coco"]["AP"], metrics["voc07"]["mAP"], metrics["voc12"]["mAP"]]
    return [] if all(-1 <= value <= 1 for value in values) else [f"metrics {values}"]


def _recipe_faults(path: Path) -> list[str]:
    from ssd_keras.cli.inputs import read_recipe_file

    recipe = read_recipe_file(str(path))
    again = parse_recipe(recipe.to_toml().encode(), "again")
    return [] if again == recipe else ["the recipe is another when written and read"]


def _override_faults(path: Path) -> list[str]:
    lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    override(_run_recipe(), [line for line in lines if line])
    return []


def _label_faults(path: Path) -> list[str]:
    names, _ = read_label_map(str(path))
    return [f"class name {name!r}" for name in names.name_of.values() if not is_plain_text(name)]


LABEL_MAP = b"""item {\n  id: 1\n  name: "/m/01"\n  display_name: "dog"\n}
item <id: 2, name: 'traffic light'>\n# a comment\nitem { id: 3 name: "cat" }\n"""


def _file(name: str, content: Callable[[], bytes], use: Callable[[Path], list[str]]) -> FileKind:
    return FileKind(_writer(name, content), (name,), lambda folder: use(folder / name))


MODEL_KINDS = ("run", "keras", "tflite", "h5")
FILE_KINDS: dict[str, FileKind] = {
    **{
        f"image-{kind.lower()}": _file(
            f"a.{kind.lower()}", functools.partial(image, kind), _image_faults
        )
        for kind in ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
    },
    "detections": FileKind(_write_detections, ("detections.json",), _score_faults),
    "recipe": _file("a.toml", RECIPE.encode, _recipe_faults),
    "set": _file("overrides.txt", OVERRIDES.encode, _override_faults),
    "labels": _file("labels.txt", b"dog\ntraffic light\n\xc3\xa9t\xc3\xa9\n".strip, _label_faults),
    "label-map": _file("map.pbtxt", LABEL_MAP.strip, _label_faults),
    "run": FileKind(
        _write_run,
        ("state.json",) * 3
        + ("class_names.txt", "recipe.toml", "history.csv", "state-2.keras", "model.keras"),
        _run_faults,
    ),
    "keras": _file("a.keras", lambda: _saved(".keras"), _detector_faults),
    "tflite": _file("a.tflite", _exported, _detector_faults),
    "pth": _file("a.pth", lambda: _pth(True), _pth_faults),
    "pth-old": _file("a.pth", lambda: _pth(False), _pth_faults),
    "h5": _file("a.weights.h5", lambda: _saved(".weights.h5"), _backbone_faults),
}
