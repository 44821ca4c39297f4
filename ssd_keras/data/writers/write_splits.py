"""Writes the splits of a data set in a file format."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from tqdm.auto import tqdm

from ssd_keras.core.files import check_writable, replacing_directory
from ssd_keras.core.origin import NOT_STATED, joined_licences
from ssd_keras.core.progress import bar_options
from ssd_keras.core.terminal import shows_progress
from ssd_keras.core.text import unknown_name
from ssd_keras.data.sources import formats_of
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.coco import write_coco
from ssd_keras.data.writers.files import safe_name, write_file
from ssd_keras.data.writers.tfrecord import write_tfrecord
from ssd_keras.data.writers.voc import write_voc
from ssd_keras.data.writers.yolo import write_yolo

WRITERS: dict[str, Callable[..., list[str]]] = {
    "voc": write_voc,
    "coco": write_coco,
    "yolo": write_yolo,
    "tfrecord": write_tfrecord,
}
"""By format. A writer takes splits, a folder and a function to call after each image."""


def default_format(specs: Sequence[str]) -> str:
    """Returns the format of data sets if all have the same and it can be written, else "voc"."""
    formats = formats_of(specs)
    return formats.pop() if len(formats) == 1 and formats <= WRITERS.keys() else "voc"


def check_new_folder(folder: str) -> None:
    """Raises `ValueError` where a folder holds something or cannot be written."""
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise ValueError(f"output {folder!r} is not an empty folder; choose another")
    check_writable(folder, is_folder=True)


def write_splits(
    splits: Sequence[Split],
    folder: str,
    format: str,
    *,
    shards: int = 1,
    progress: bool | None = None,
) -> list[str]:
    """Writes splits into a new folder, whole or not at all; returns the specs to read them.

    `shards` is the number of files of each split in the format "tfrecord".
    """
    if format not in WRITERS:
        raise ValueError(unknown_name("format", format, WRITERS))
    if empty := [split.name for split in splits if not len(split.data)]:
        raise ValueError(f"the split {empty[0]!r} has no image; nothing was written")
    check_new_folder(folder)
    # A class has the same id in all splits, also where their sources differ.
    ids = splits[0].data.category_ids
    splits = [
        Split(safe_name(each.name), replace(each.data, category_ids=ids, label_of_id={}))
        for each in splits
    ]
    options = {"shards": shards} if format == "tfrecord" else {}
    with replacing_directory(folder) as beside:
        os.makedirs(beside)
        count = sum(len(split.data) for split in splits)
        with tqdm(
            total=count, desc="writing images", leave=False, **bar_options(shows_progress(progress))
        ) as bar:
            specs = WRITERS[format](splits, beside, bar.update, **options)
        _write_licence(splits, beside)
    return [spec.replace(beside, folder) for spec in specs]


def _write_licence(splits: Sequence[Split], folder: str) -> None:
    """Writes what is known of the licence into a file, from which a reader of the copy has it."""
    licence = joined_licences(split.data.licence for split in splits)
    if licence != NOT_STATED:
        write_file(os.path.join(folder, "LICENSE"), f"{licence}\n".encode())
