"""Several data sets side by side, under the same class names."""

from collections.abc import Sequence
from typing import NamedTuple

from ssd_keras.core.class_names import united_names
from ssd_keras.data.readers.assemble import relabel
from ssd_keras.data.records import DetectionData
from ssd_keras.data.sources import load_data, parts_of


class Split(NamedTuple):
    """One part of the data, such as the training images, and its name."""

    name: str
    data: DetectionData


def load_splits(
    specs: Sequence[str], progress: bool = False, bad_data: str = "drop"
) -> list[Split]:
    """Loads each data set as a split of its own; what cannot be used is in its problems."""
    specs = [part for spec in specs for part in parts_of(spec)]
    loaded = [load_data(spec, progress=progress, bad_data=bad_data) for spec in specs]
    class_names = united_names([data.class_names for data in loaded])
    names = split_names(specs)
    return [
        Split(name, data if data.class_names == class_names else relabel(data, class_names))
        for name, data in zip(names, loaded, strict=True)
    ]


def split_names(specs: Sequence[str]) -> list[str]:
    """Short names for data sets: what follows the '@' where that tells them apart."""
    short = [spec.rpartition("@")[2] for spec in specs]
    if len(set(short)) == len(short):
        return short
    return [f"{name}_{number}" for number, name in enumerate(short, start=1)]
