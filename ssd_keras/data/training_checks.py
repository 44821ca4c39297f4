"""Refuses data that cannot be learned from or validated with, before a training begins."""

import sys
import warnings
from collections.abc import Sequence

import numpy as np
from tqdm.contrib.concurrent import thread_map

from ssd_keras.core.class_names import labels_by_name
from ssd_keras.core.text import short_list
from ssd_keras.data.image_files import read_image_header
from ssd_keras.data.problems import problem_of
from ssd_keras.data.readers.assemble import NUM_THREADS
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.unions import relabel


def check_objects(data: DetectionData, title: str, use_difficult: bool = True) -> None:
    """Raises a ValueError if the data have no object that counts; `title` is "training data"."""
    if any(np.any(usable_objects(example, use_difficult)) for example in data.examples):
        return
    num_unused = sum(len(example.labels) for example in data.examples)
    unused = f" that counts ({num_unused} are crowds or difficult)" if num_unused else ""
    first = f"; the first problem: {data.problems[0]}" if data.problems else ""
    sources = f" ({short_list(data.sources)})" if data.sources else ""
    raise ValueError(
        f"the {title}{sources} have no object{unused} in {_images(len(data))}{first}; see what was "
        "read with `ssd-keras data check`, and give data with objects."
    )


def usable_objects(example: Example, use_difficult: bool = True) -> np.ndarray:
    """Returns which objects of an image count, bool [n]: never crowds, and difficult by choice."""
    return ~example.is_crowd if use_difficult else ~(example.is_crowd | example.is_difficult)


def check_images(data: DetectionData, title: str) -> None:
    """Raises a ValueError for an image that is missing, or damaged at either end."""

    def fault(example: Example) -> str:
        try:
            read_image_header(example.image, max_pixels=sys.maxsize)  # loading decided about it
        except (OSError, ValueError) as error:
            return problem_of(error, example.location).sentence
        return ""

    faults = thread_map(fault, data.examples, max_workers=NUM_THREADS, disable=True)
    faulty = [(x.location, text) for x, text in zip(data.examples, faults, strict=True) if text]
    if faulty:
        location, text = faulty[0]
        more = f", and {_images(len(faulty) - 1)} more" if len(faulty) > 1 else ""
        raise ValueError(
            f"the {title} cannot be used: {location}: {text}{more}; load them with load_data, "
            "which drops such images and lists them."
        )


def with_classes_of(data: DetectionData, class_names: Sequence[str]) -> DetectionData:
    """Returns training data with a model's labels: by name, with a warning where they differ."""
    if not class_names or data.class_names == tuple(class_names):
        return data
    unknown = _used_classes(data) - labels_by_name(class_names).keys()
    if unknown:
        names = short_list([name for name in data.class_names if name in unknown])
        raise ValueError(
            f"the data have objects of {names}, which are no classes of the model "
            f"({short_list(class_names)}); load the data with load_data(..., "
            "class_names=model.class_names), or build the model with "
            "class_names=data.class_names."
        )
    warnings.warn(
        f"the classes of the data ({short_list(data.class_names)}) are not those of the model "
        f"({short_list(class_names)}): objects get the model's labels by name.",
        stacklevel=3,
    )
    return relabel(data, class_names)


def class_differences(data: DetectionData, class_names: Sequence[str], title: str) -> str:
    """Returns a line where a detector's classes are not those of the data; "" where they are.

    Raises a ValueError if they have none in common.
    """
    if data.class_names == tuple(class_names):
        return ""
    of_data, of_model = labels_by_name(data.class_names), labels_by_name(class_names)
    foreign = [name for name in class_names if name not in of_data]
    missing = [name for name in data.class_names if name not in of_model]
    used = _used_classes(data)
    if used and not used & of_model.keys():
        raise ValueError(
            f"the {title} have objects of {short_list(sorted(used))} alone, the "
            f"model detects {short_list(class_names)}; load the data with load_data(..., "
            "class_names=model.class_names)."
        )
    if not foreign and not missing:
        return ""
    parts = [f"the classes of the {title} are not those of the model, and are compared by name"]
    if foreign:
        parts.append(f"detections of {short_list(foreign)}, which the data lack, do not count")
    if missing:
        parts.append(f"objects of {short_list(missing)}, which the model lacks, are never found")
    return "; ".join(parts) + "."


def _images(count: int) -> str:
    return f"{count} image" if count == 1 else f"{count} images"


def _used_classes(data: DetectionData) -> set[str]:
    used = {label for example in data.examples for label in np.unique(example.labels).tolist()}
    return {data.class_names[label] for label in used}
