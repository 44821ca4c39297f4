"""Where data come from: parses the words for a data set, calls its reader, unites several."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from ssd_keras.data.assemble import unite
from ssd_keras.data.coco import read_coco
from ssd_keras.data.examples import DetectionData
from ssd_keras.data.synthetic import read_synthetic
from ssd_keras.data.voc import read_voc

Reader = Callable[..., DetectionData]

# kind: (its reader of the parts before and after the '@', how it is written)
READERS: dict[str, tuple[Reader, str]] = {
    "voc": (read_voc, "voc:ROOT@SPLIT"),
    "coco": (read_coco, "coco:ANNOTATIONS.json@IMAGES_DIR"),
    "synthetic": (read_synthetic, "synthetic:shapes@train|val|test"),
}
BAD_DATA_CHOICES = ("drop", "refuse")


def load_data(
    specs: str | Sequence[str],
    *,
    class_names: Sequence[str] | None = None,
    bad_data: str = "drop",
    check_pictures: bool = True,
    progress: bool = False,
) -> DetectionData:
    """Loads annotations and the places of their pictures; nothing is decoded.

    Args:
        specs: one data set or several, which are united by class name: "voc:ROOT@SPLIT",
            "coco:ANNOTATIONS.json@IMAGES_DIR", "synthetic:shapes@train|val|test" (the first 120
            pictures: "synthetic:shapes@train[:120]").
        class_names: names in label order; None takes those of the data.
        bad_data: "drop" (default) leaves out what cannot be used and lists it in `problems`;
            "refuse" raises an error.
        check_pictures: whether the head and the tail of every picture file are looked at, default
            True. False touches no picture unless its size is not annotated: enough for scoring.
        progress: whether progress bars are shown, default False.

    Returns:
        The data set.

    Raises:
        ValueError: a spec that cannot be understood, bad data under "refuse", or no picture left.
        FileNotFoundError: a folder, annotation file or split file is missing.

    Example:
        >>> data = load_data("synthetic:shapes@val[:2]", class_names=["circle", "square"])
        >>> data.class_names, [example.image_id for example in data.examples]
        (('circle', 'square'), ['val_0000', 'val_0001'])
    """
    if bad_data not in BAD_DATA_CHOICES:
        raise ValueError(f"unknown bad_data {bad_data!r}; expected 'drop' or 'refuse'")
    specs = [specs] if isinstance(specs, str) else list(specs)
    if not specs:
        raise ValueError(f"no data given; expected at least one of {_forms()}")
    _check_class_names(class_names)
    options = {"class_names": class_names, "check_pictures": check_pictures, "progress": progress}
    sources = [_read(spec, options) for spec in specs]
    data = unite(sources, class_names)
    if bad_data == "refuse":
        _refuse_problems(data)
    for spec, source in zip(specs, sources, strict=True):
        if not source.examples:
            first = f"; the first problem: {source.problems[0]}" if source.problems else ""
            raise ValueError(
                f"data '{spec}': no picture is left; expected at least one that can be used{first}"
            )
    return data


def _read(spec: str, options: dict[str, Any]) -> DetectionData:
    kind, colon, rest = spec.partition(":")
    if not colon or kind not in READERS:
        raise ValueError(f"data '{spec}': unknown kind '{kind}'; expected one of {_forms()}")
    reader, form = READERS[kind]
    before, at, after = rest.rpartition("@")
    if not (at and before and after):
        raise ValueError(f"data '{spec}': a part is missing around '@'; expected {form}")
    try:
        return reader(os.path.expanduser(before), os.path.expanduser(after), **options)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"data '{spec}': {error}") from error
    except ValueError as error:
        raise ValueError(f"data '{spec}': {error}") from error


def _refuse_problems(data: DetectionData) -> None:
    if not data.problems:
        return
    first, *others = data.problems
    more = f" ... and {len(others)} more" if others else ""
    them = "them" if others else "it"
    raise ValueError(
        f"{first.place}: {first.what}{more}; mend the data, or pass bad_data='drop' "
        f"(--bad-data drop) to leave {them} out"
    )


def _check_class_names(class_names: Sequence[str] | None) -> None:
    if class_names is None:
        return
    if isinstance(class_names, str) or not class_names:
        raise ValueError(f"class_names is {class_names!r}; expected a list of at least one name")
    repeated = sorted({name for name in class_names if list(class_names).count(name) > 1})
    if repeated:
        raise ValueError(f"class_names repeats {', '.join(repeated)}; expected each name once")


def _forms() -> str:
    return ", ".join(form for _, form in READERS.values())
