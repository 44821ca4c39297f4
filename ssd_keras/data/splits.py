"""Loads several data sets as splits with the same class names."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ssd_keras.core.class_names import united_names
from ssd_keras.core.images import MAX_PIXELS
from ssd_keras.data.data_file import is_data_file
from ssd_keras.data.records import DetectionData
from ssd_keras.data.sources import load_data, parse_spec, parts_of
from ssd_keras.data.specs import distinct_names, name_candidates
from ssd_keras.data.unions import relabel, similar_names

SPLIT_FOLDERS = ("train", "training", "trainval", "val", "valid", "validation", "test", "testing")


class Split(NamedTuple):
    """A named part of the data, such as the training images."""

    name: str
    data: DetectionData
    source: str = ""  # what one tool wrote: the format and the folder of all its splits


def load_splits(
    specs: Sequence[str],
    progress: bool | None = None,
    bad_data: str = "drop",
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    max_pixels: int = MAX_PIXELS,
) -> list[Split]:
    """Loads each data set as a split; all get the class names of all."""
    specs = [part for spec in specs for part in parts_of(spec)]
    loaded = [
        load_data(
            spec,
            progress=progress,
            bad_data=bad_data,
            rename=rename,
            drop=drop,
            max_pixels=max_pixels,
        )
        for spec in specs
    ]
    class_names = united_names([data.class_names for data in loaded])
    loaded = [_with_names(data, class_names) for data in loaded]
    known = {problem.detail for data in loaded for problem in data.problems}
    notes = similar_names(class_names, ", ".join(specs))
    more = [note for note in notes if note.detail not in known]
    loaded[0] = replace(loaded[0], problems=(*loaded[0].problems, *more))
    return [
        Split(*row) for row in zip(split_names(specs), loaded, map(source_of, specs), strict=True)
    ]


def _with_names(data: DetectionData, class_names: tuple[str, ...]) -> DetectionData:
    """Returns data with these class names, whose category ids are then 1..C."""
    if data.class_names == class_names:
        return data
    return replace(relabel(data, class_names), category_ids=(), label_of_id={})


def split_names(specs: Sequence[str]) -> list[str]:
    """Returns a name for each spec: its split, the name of its table, or of its folder."""
    return distinct_names([_candidates(spec) for spec in specs])


def source_of(spec: str) -> str:
    """Returns the format and the folder of a spec, without folders that are named as splits are.

    The parts of a data file are one source.
    """
    if is_data_file(spec):
        return os.path.abspath(spec.rpartition("@")[0])
    reader, first, _ = parse_spec(spec)
    if reader.form.first_exists is None:  # not a path
        return f"{reader.prefix}:{first}"
    folder = os.path.abspath(os.path.expanduser(first))
    folder = folder if os.path.isdir(folder) else os.path.dirname(folder)
    while os.path.basename(folder).lower() in SPLIT_FOLDERS:
        folder = os.path.dirname(folder)
    return f"{reader.prefix}:{folder}"


def _candidates(spec: str) -> list[str]:
    if is_data_file(spec):
        return [spec.rpartition("@")[2]]
    reader, first, second = parse_spec(spec)
    return name_candidates(reader.prefix, first, second)
