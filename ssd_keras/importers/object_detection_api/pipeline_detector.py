"""Reads a detector from the folder of its training or export: pipeline.config and checkpoint."""

import os
import re
from collections.abc import Sequence

from ssd_keras.importers.object_detection_api.checkpoint import Checkpoint, fill_network
from ssd_keras.importers.object_detection_api.network import build_network
from ssd_keras.importers.object_detection_api.pipeline_config import read_pipeline_config
from ssd_keras.importers.object_detection_api.sources import CONFIG, LABEL_MAP, UNNAMED
from ssd_keras.models.ssd import SSD

# Where a folder has its checkpoint: the zoo's and an export's, a training's.
CHECKPOINT_FOLDERS = ("checkpoint", ".")
INDEX = re.compile(r"ckpt-(\d+)\.index")


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
    """Returns the prefix of the checkpoint with the highest number in the folder."""
    numbered = {
        folder: _numbered_checkpoints(os.path.join(path, folder)) for folder in CHECKPOINT_FOLDERS
    }
    found = [folder for folder, numbers in numbered.items() if numbers]
    if len(found) > 1:
        raise ValueError(
            f"{path!r} has checkpoints in two places, {' and '.join(found)}; remove one of them."
        )
    if found:
        return os.path.join(path, found[0], f"ckpt-{max(numbered[found[0]])}")
    exported = os.path.join(path, "saved_model", "variables", "variables")
    if os.path.isfile(f"{exported}.index"):
        return exported
    raise FileNotFoundError(
        f"{path!r} has {CONFIG} and no checkpoint; expected the files ckpt-N.index and "
        "ckpt-N.data-00000-of-00001 there, or in its folder checkpoint/."
    )


def _numbered_checkpoints(folder: str) -> list[int]:
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [int(found[1]) for found in map(INDEX.fullmatch, names) if found]
