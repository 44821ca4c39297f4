"""Finds out what a detector of the TF Object Detection API comes as, and reads it."""

import os
from typing import Any

from ssd_keras.data.readers.label_map import read_label_map, read_name_lines
from ssd_keras.importers.object_detection_api.checkpoint import Checkpoint, fill_network
from ssd_keras.importers.object_detection_api.network import build_network
from ssd_keras.importers.object_detection_api.pipeline_config import read_pipeline_config
from ssd_keras.importers.object_detection_api.tflite import UNNAMED, import_tflite
from ssd_keras.models.ssd import SSD

CONFIG, LABEL_MAP = "pipeline.config", "label_map.pbtxt"
# Where a folder has its checkpoint: the zoo's, a training's, an export's.
CHECKPOINT_FOLDERS = ("checkpoint", ".", os.path.join("saved_model", "variables"))


def import_object_detection_api(path: str, labels: str | None = None) -> SSD:
    """Reads a detector of the TF Object Detection API.

    Args:
        path: folder with `pipeline.config` and a TF2 checkpoint (`checkpoint/ckpt-0` of the model
            zoo and of exports, the newest `ckpt-N` of a training, or `saved_model/`), or `.tflite`
            file of an SSD MobileNetV1.
        labels: path of the class names, a label map (.pbtxt) or a text file with one a line.
            Default None: `label_map.pbtxt` in the folder, or the labels in the file.

    Returns:
        `SSD`. Classes without a name ("???") are left out.

    Raises:
        FileNotFoundError, ValueError: for what is missing, damaged, of another kind, or does not
            belong together.
    """
    if not os.path.isdir(path):
        return import_tflite(path, labels)
    ssd = read_pipeline_config(os.path.join(path, CONFIG))
    names = _class_names(path, labels, ssd)
    checkpoint = Checkpoint(_newest_checkpoint(path))
    kept = {label: name for label, name in names.items() if name not in UNNAMED}
    model = build_network(ssd, list(kept.values()))
    fill_network(model, checkpoint, ssd.num_classes, [0, *kept])
    return model


def _newest_checkpoint(path: str) -> str:
    import tensorflow as tf

    for folder in CHECKPOINT_FOLDERS:
        place = os.path.join(path, folder)
        found = tf.train.latest_checkpoint(place) if os.path.isdir(place) else None
        for prefix in (found, os.path.join(place, "ckpt-0"), os.path.join(place, "variables")):
            if prefix and os.path.isfile(f"{prefix}.index"):
                return prefix
    raise FileNotFoundError(
        f"{path!r} has {CONFIG} and no checkpoint; expected the files ckpt-N.index and "
        "ckpt-N.data-00000-of-00001 there, or in its folder checkpoint/."
    )


def _class_names(path: str, labels: str | None, ssd: Any) -> dict[int, str]:
    """Returns the class names by their id, from 1 on."""
    labels = labels or os.path.join(path, LABEL_MAP)
    if not os.path.isfile(labels):
        raise FileNotFoundError(
            f"the label map {labels!r} does not exist; pass the one of the training (labels=..., "
            "--labels FILE), with the names of its classes."
        )
    if labels.endswith(".pbtxt"):
        names = read_label_map(labels)[0].name_of
    else:
        names = dict(enumerate(read_name_lines(labels), start=1))
    if max(names) > ssd.num_classes:
        raise ValueError(
            f"{labels!r} names the class {max(names)}, and {os.path.join(path, CONFIG)!r} has "
            f"num_classes: {ssd.num_classes}; pass the label map of this model."
        )
    return names
