"""Where data come from: parses the words for a data set, calls its reader, unites several."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ssd_keras.core.text import is_plain_text, one_line
from ssd_keras.data.data_file import ENDING, PARTS, is_data_file, read_data_file
from ssd_keras.data.readers.assemble import unite
from ssd_keras.data.readers.coco import read_coco
from ssd_keras.data.readers.csv_table import read_csv
from ssd_keras.data.readers.synthetic import read_synthetic
from ssd_keras.data.readers.tfds import read_tfds
from ssd_keras.data.readers.tfrecord import read_tfrecord
from ssd_keras.data.readers.voc import read_voc
from ssd_keras.data.readers.yolo import read_yolo
from ssd_keras.data.records import DetectionData


class ReaderSpec(NamedTuple):
    """A kind of data: its reader of the parts before and after the '@', and how it is written.

    `paths` says of each part whether it is a path; `after` may be left out where it is optional.
    """

    reader: Callable[..., DetectionData]
    form: str
    paths: tuple[bool, bool] = (True, False)
    is_after_optional: bool = False


READERS = {
    "voc": ReaderSpec(read_voc, "voc:ROOT@SPLIT"),
    "coco": ReaderSpec(read_coco, "coco:ANNOTATIONS.json@IMAGES_DIR", (True, True)),
    "yolo": ReaderSpec(read_yolo, "yolo:ROOT@SPLIT"),
    "csv": ReaderSpec(read_csv, "csv:TABLE.csv@IMAGES_DIR", (True, True)),
    "tfrecord": ReaderSpec(read_tfrecord, "tfrecord:PATTERN[@LABEL_MAP]", (True, True), True),
    "tfds": ReaderSpec(read_tfds, "tfds:voc/2007@train", (False, False)),
    "synthetic": ReaderSpec(read_synthetic, "synthetic:shapes@train|val|test", (False, False)),
}
BAD_DATA_CHOICES = ("drop", "refuse")
LONGEST_ERROR = 2000


def load_data(
    specs: str | Sequence[str],
    *,
    class_names: Sequence[str] | None = None,
    bad_data: str = "drop",
    check_images: bool = True,
    progress: bool = False,
    part: str = "train",
) -> DetectionData:
    """Loads annotations and the places of their images; nothing is decoded.

    Args:
        specs: one data set or several, which are united by class name: "voc:ROOT@SPLIT",
            "coco:ANNOTATIONS.json@IMAGES_DIR", "yolo:ROOT@SPLIT", "csv:TABLE.csv@IMAGES_DIR",
            "tfrecord:PATTERN[@LABEL_MAP]", "tfds:voc/2007@train", "synthetic:shapes@train" (the
            first 120 images: "synthetic:shapes@train[:120]"), or a data file "data.toml" (see
            `ssd_keras.data.data_file`), of which "data.toml@validation" is the validation data.
        class_names: names in label order; None takes those of the data or the data file.
        bad_data: "drop" (default) leaves out what cannot be used and lists it in `problems`;
            "refuse" raises an error.
        check_images: whether the head and the tail of every image file are looked at, default
            True. False touches no image unless its size is not annotated: enough for scoring.
        progress: whether progress bars are shown, default False.
        part: of a data file, where its words name none: "train" (default) or "validation".

    Returns:
        The data set.

    Raises:
        ValueError: a spec that cannot be understood, bad data under "refuse", or no image left.
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
    with _told_in_one_line():
        specs, names_of_file = expand(specs, part)
        class_names = names_of_file if class_names is None else class_names
        _check_class_names(class_names)
    options = {"class_names": class_names, "check_images": check_images, "progress": progress}
    sources = [_read(spec, options) for spec in specs]
    data = unite(sources, class_names)
    if bad_data == "refuse":
        _refuse_problems(data)
    for spec, source in zip(specs, sources, strict=True):
        if not source.examples:
            first = f"; the first problem: {source.problems[0]}" if source.problems else ""
            raise ValueError(
                f"data '{one_line(spec)}': no image is left; expected at least one that can be "
                f"used{first}"
            )
    return data


def expand(specs: Sequence[str], part: str = "train") -> tuple[list[str], tuple[str, ...] | None]:
    """Replaces data files by the data sets that they name."""
    found: list[str] = []
    class_names = None
    for spec in specs:
        if not is_data_file(spec):
            found.append(spec)
            continue
        path, _, own_part = (spec, "", part) if spec.endswith(ENDING) else spec.rpartition("@")
        data_file = read_data_file(os.path.expanduser(path), _from_folder)
        named = getattr(data_file, own_part) if own_part in PARTS else ()
        if not named:
            there = ", ".join(name for name in PARTS if getattr(data_file, name))
            raise ValueError(f"data file {path} has no part '{own_part}'; expected {there}")
        found += named
        class_names = class_names or data_file.class_names
    return found, class_names


def parts_of(spec: str) -> list[str]:
    """The parts of a data file, such as "data.toml@train"; other words for data as they are."""
    if not spec.endswith(ENDING):
        return [spec]
    data_file = read_data_file(os.path.expanduser(spec), _from_folder)
    return [f"{spec}@{part}" for part in PARTS if getattr(data_file, part)]


def kinds_of(specs: Sequence[str]) -> set[str]:
    """The kinds of data sets, those in data files included."""
    parts, _ = expand([part for spec in specs for part in parts_of(spec)])
    return {part.partition(":")[0] for part in parts}


def _from_folder(spec: str, folder: str) -> str:
    """The words for a data set with paths that start in another folder."""
    kind, colon, rest = spec.partition(":")
    if not colon or kind not in READERS:
        return spec  # an error that `load_data` tells
    before, at, after = rest.rpartition("@") if "@" in rest else (rest, "", "")
    places = [
        os.path.join(folder, os.path.expanduser(part)) if is_path and part else part
        for part, is_path in zip((before, after), READERS[kind].paths, strict=True)
    ]
    return f"{kind}:{places[0]}{at}{places[1]}"


def _read(spec: str, options: dict[str, Any]) -> DetectionData:
    kind, colon, rest = spec.partition(":")
    with _told_in_one_line(f"data '{one_line(spec)}': "):
        if not colon or kind not in READERS:
            raise ValueError(f"unknown kind '{one_line(kind)}'; expected one of {_forms()}")
        reader, form, _, is_after_optional = READERS[kind]
        before, at, after = rest.rpartition("@")
        if is_after_optional and not at:
            before, after = rest, ""
        if not before or not (after or is_after_optional):
            raise ValueError(f"a part is missing around '@'; expected {form}")
        return reader(os.path.expanduser(before), os.path.expanduser(after), **options)


@contextlib.contextmanager
def _told_in_one_line(place: str = "") -> Iterator[None]:
    """Errors quote what files say, and a file may say anything."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(one_line(f"{place}{error}", LONGEST_ERROR)) from error
    except ValueError as error:
        raise ValueError(one_line(f"{place}{error}", LONGEST_ERROR)) from error


def _refuse_problems(data: DetectionData) -> None:
    if not data.problems:
        return
    first, *others = data.problems
    more = f" ... and {len(others)} more" if others else ""
    them = "them" if others else "it"
    raise ValueError(
        f"{first.location}: {first.sentence}{more}; correct the data, or pass bad_data='drop' "
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
    for name in class_names:
        if not is_plain_text(name):
            raise ValueError(f"class_names has {name!r}; expected a name in one line")


def _forms() -> str:
    return ", ".join([*(kind.form for kind in READERS.values()), "data.toml"])
