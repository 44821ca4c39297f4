"""Reads a detector from the folder of its training or export: pipeline.config and checkpoint."""

import os
from collections.abc import Sequence

from ssd_keras.importers.object_detection_api.checkpoint import Checkpoint, fill_network
from ssd_keras.importers.object_detection_api.network import build_network
from ssd_keras.importers.object_detection_api.pipeline_config import read_pipeline_config
from ssd_keras.importers.object_detection_api.sources import CONFIG, LABEL_MAP, UNNAMED
from ssd_keras.models.ssd import SSD

# Where a folder has its checkpoint: the zoo's, a training's, an export's.
CHECKPOINT_FOLDERS = ("checkpoint", ".", os.path.join("saved_model", "variables"))


def import_pipeline(path: str, names: Sequence[str] | None) -> SSD:
    """Reads the detector of a folder.

    Args:
        path: folder with `pipeline.config` and a TF2 checkpoint: `checkpoint/ckpt-0` of the model
            zoo and of exports, the newest `ckpt-N` of a training, or that of `saved_model/`.
        names: of the classes by their id from 1 on; "???" is left out. None: of no label map.

    Returns:
        `SSD`.

    Raises:
        FileNotFoundError, ValueError: for what is missing, damaged, of another kind, or does not
            belong together.
    """
    config = os.path.join(path, CONFIG)
    ssd = read_pipeline_config(config)
    if names is None:
        raise FileNotFoundError(
            f"{path!r} has no {LABEL_MAP}; pass the label map of the training (labels=..., "
            "--labels FILE), with the names of its classes."
        )
    if len(names) > ssd.num_classes:
        raise ValueError(
            f"the labels name the class {len(names)}, and {config!r} has num_classes: "
            f"{ssd.num_classes}; pass the label map of this model."
        )
    checkpoint = Checkpoint(_newest_checkpoint(path))
    kept = {label: name for label, name in enumerate(names, start=1) if name not in UNNAMED}
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
