"""Loads several data sets as splits with the same class names."""

from collections.abc import Sequence
from typing import NamedTuple

from ssd_keras.core.class_names import united_names
from ssd_keras.data.readers.assemble import relabel
from ssd_keras.data.records import DetectionData
from ssd_keras.data.sources import load_data, parts_of


class Split(NamedTuple):
    """A named part of the data, such as the training images."""

    name: str
    data: DetectionData


def load_splits(
    specs: Sequence[str], progress: bool = False, bad_data: str = "drop"
) -> list[Split]:
    """Loads each data set as a split; all get the class names of all."""
    specs = [part for spec in specs for part in parts_of(spec)]
    loaded = [load_data(spec, progress=progress, bad_data=bad_data) for spec in specs]
    class_names = united_names([data.class_names for data in loaded])
    return [
        Split(name, data if data.class_names == class_names else relabel(data, class_names))
        for name, data in zip(split_names(specs), loaded, strict=True)
    ]


def split_names(specs: Sequence[str]) -> list[str]:
    """Returns what follows the '@' of each spec, numbered where two are equal."""
    names = [spec.rpartition("@")[2] for spec in specs]
    if len(set(names)) == len(names):
        return names
    return [f"{name}_{number}" for number, name in enumerate(names, start=1)]
