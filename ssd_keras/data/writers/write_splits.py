"""Writes the splits of a data set in a file format."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from tqdm import tqdm

from ssd_keras.core.files import replacing_directory
from ssd_keras.data.sources import kinds_of
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.coco import write_coco
from ssd_keras.data.writers.files import _safe
from ssd_keras.data.writers.voc import write_voc
from ssd_keras.data.writers.yolo import write_yolo

LAYOUTS = ("voc", "coco", "yolo", "tfrecord")


def own_layout(specs: Sequence[str]) -> str:
    """The layout that a copy of data sets has where none is asked for."""
    kinds = kinds_of(specs)
    return kinds.pop() if len(kinds) == 1 and kinds <= set(LAYOUTS) else "voc"


def write_splits(
    splits: Sequence[Split], folder: str, layout: str, *, shards: int = 1, progress: bool = False
) -> list[str]:
    """Writes splits into one new folder, whole or not at all."""
    from ssd_keras.data.writers.tfrecord import write_tfrecord

    writers: dict[str, Callable[..., list[str]]] = {
        "voc": write_voc, "coco": write_coco, "yolo": write_yolo, "tfrecord": write_tfrecord,
    }  # fmt: skip
    if layout not in writers:
        raise ValueError(f"unknown layout {layout!r}; expected one of {', '.join(LAYOUTS)}")
    if empty := [split.name for split in splits if not len(split.data)]:
        raise ValueError(f"the split {empty[0]!r} has no image; nothing was written")
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise ValueError(f"output {folder!r} is not an empty folder; choose another")
    # One class has one id in all splits, whatever their own files say.
    ids = splits[0].data.category_ids
    named = [Split(_safe(each.name), replace(each.data, category_ids=ids)) for each in splits]
    os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
    options = {"shards": shards} if layout == "tfrecord" else {}
    with replacing_directory(folder) as beside:
        os.makedirs(beside)
        count = sum(len(split.data) for split in named)
        with tqdm(total=count, desc="writing images", leave=False, disable=not progress) as bar:
            specs = writers[layout](named, beside, bar.update, **options)
    return [spec.replace(beside, folder) for spec in specs]
