"""Loads data sets by specs such as "voc:ROOT@SPLIT": parses specs, calls readers, unites data."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ssd_keras.core.text import is_plain_text, one_line
from ssd_keras.data.data_file import EXTENSION, PARTS, is_data_file, read_data_file
from ssd_keras.data.readers.assemble import ReadOptions, unite
from ssd_keras.data.readers.coco import read_coco
from ssd_keras.data.readers.csv_table import read_csv
from ssd_keras.data.readers.synthetic import read_synthetic
from ssd_keras.data.readers.tfds import read_tfds
from ssd_keras.data.readers.tfrecord import read_tfrecord
from ssd_keras.data.readers.voc import read_voc
from ssd_keras.data.readers.yolo import read_yolo
from ssd_keras.data.records import DetectionData


class ReaderSpec(NamedTuple):
    """A data format: prefix and form of its specs, its reader of what surrounds the last '@'."""

    prefix: str
    form: str
    read: Callable[[str, str, ReadOptions], DetectionData]
    paths: tuple[bool, bool] = (True, False)  # which of the two parts are paths
    needs_second: bool = True


_SPECS = (
    ReaderSpec("voc", "voc:ROOT@SPLIT", read_voc),
    ReaderSpec("coco", "coco:ANNOTATIONS.json@IMAGES_DIR", read_coco, (True, True)),
    ReaderSpec("yolo", "yolo:ROOT@SPLIT", read_yolo),
    ReaderSpec("csv", "csv:TABLE.csv@IMAGES_DIR", read_csv, (True, True)),
    ReaderSpec("tfrecord", "tfrecord:PATTERN[@LABEL_MAP]", read_tfrecord, (True, True), False),
    ReaderSpec("tfds", "tfds:voc/2007@train", read_tfds, (False, False)),
    ReaderSpec("synthetic", "synthetic:shapes@train|val|test", read_synthetic, (False, False)),
)
READERS = {spec.prefix: spec for spec in _SPECS}
FORMS = ", ".join([*(spec.form for spec in _SPECS), "data.toml"])
BAD_DATA_CHOICES = ("drop", "refuse")
MAX_ERROR_LENGTH = 2000


def load_data(
    specs: str | Sequence[str],
    *,
    class_names: Sequence[str] | None = None,
    bad_data: str = "drop",
    check_images: bool = True,
    progress: bool = False,
    part: str = "train",
) -> DetectionData:
    """Loads the annotations of one or several data sets; no image is decoded.

    Args:
        specs: one data set or several, which are united by class name: "voc:ROOT@SPLIT",
            "coco:ANNOTATIONS.json@IMAGES_DIR", "yolo:ROOT@SPLIT", "csv:TABLE.csv@IMAGES_DIR",
            "tfrecord:PATTERN[@LABEL_MAP]", "tfds:voc/2007@train", "synthetic:shapes@train" (its
            first 120 images: "synthetic:shapes@train[:120]"), or a data file "data.toml" (see
            `ssd_keras.data.data_file`), whose validation data are "data.toml@validation".
        class_names: names in label order; default None, those of the data or the data file.
        bad_data: "drop" (default) drops what cannot be used and lists it in `problems`;
            "refuse" raises an error.
        check_images: whether to read both ends of each image file, default True. False opens only
            images whose size is not annotated: enough for scoring.
        progress: whether to show progress bars, default False.
        part: "train" (default) or "validation", of data files whose spec names no part.

    Returns:
        The data set.

    Raises:
        ValueError: a spec that cannot be parsed, bad data under "refuse", or no image left.
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
        raise ValueError(f"no data given; expected at least one of {FORMS}")
    with _errors_in_one_line():
        specs, file_class_names = expand_data_files(specs, part)
        class_names = file_class_names if class_names is None else class_names
        _check_class_names(class_names)
    options = ReadOptions(class_names, check_images, progress)
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


def expand_data_files(
    specs: Sequence[str], part: str = "train"
) -> tuple[list[str], tuple[str, ...] | None]:
    """Returns the specs with data files replaced by what they name, and the files' class names."""
    expanded: list[str] = []
    class_names = None
    for spec in specs:
        if not is_data_file(spec):
            expanded.append(spec)
            continue
        path, _, name = (spec, "", part) if spec.endswith(EXTENSION) else spec.rpartition("@")
        data_file = read_data_file(os.path.expanduser(path), _join_folder)
        part_specs = getattr(data_file, name) if name in PARTS else ()
        if not part_specs:
            choices = ", ".join(choice for choice in PARTS if getattr(data_file, choice))
            raise ValueError(f"data file {path} has no part '{name}'; expected {choices}")
        expanded += part_specs
        class_names = class_names or data_file.class_names
    return expanded, class_names


def parts_of(spec: str) -> list[str]:
    """Returns the parts of a data file, such as "data.toml@train", and any other spec as it is."""
    if not spec.endswith(EXTENSION):
        return [spec]
    data_file = read_data_file(os.path.expanduser(spec), _join_folder)
    return [f"{spec}@{part}" for part in PARTS if getattr(data_file, part)]


def formats_of(specs: Sequence[str]) -> set[str]:
    """Returns the formats of data sets, such as "voc", those in data files included."""
    expanded, _ = expand_data_files([part for spec in specs for part in parts_of(spec)])
    return {spec.partition(":")[0] for spec in expanded}


def _join_folder(spec: str, folder: str) -> str:
    """Returns a spec with its paths relative to a folder."""
    prefix, colon, rest = spec.partition(":")
    if not colon or prefix not in READERS:
        return spec  # an error that `load_data` raises
    first, at, second = rest.rpartition("@") if "@" in rest else (rest, "", "")
    first, second = (
        os.path.join(folder, os.path.expanduser(text)) if is_path and text else text
        for text, is_path in zip((first, second), READERS[prefix].paths, strict=True)
    )
    return f"{prefix}:{first}{at}{second}"


def _read(spec: str, options: ReadOptions) -> DetectionData:
    prefix, colon, rest = spec.partition(":")
    with _errors_in_one_line(f"data '{one_line(spec)}': "):
        if not colon or prefix not in READERS:
            raise ValueError(f"unknown format '{one_line(prefix)}'; expected one of {FORMS}")
        reader = READERS[prefix]
        first, at, second = rest.rpartition("@")
        if not reader.needs_second and not at:
            first, second = rest, ""
        if not first or (reader.needs_second and not second):
            raise ValueError(f"a part is missing around '@'; expected {reader.form}")
        return reader.read(os.path.expanduser(first), os.path.expanduser(second), options)


@contextlib.contextmanager
def _errors_in_one_line(prefix: str = "") -> Iterator[None]:
    """Puts a prefix before errors and escapes them: they quote files, which may hold anything."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(one_line(f"{prefix}{error}", MAX_ERROR_LENGTH)) from error


def _refuse_problems(data: DetectionData) -> None:
    losses = [problem for problem in data.problems if problem.is_loss]
    if not losses:
        return
    first, *others = losses
    more = f" ... and {len(others)} more" if others else ""
    them = "them" if others else "it"
    raise ValueError(
        f"{first.location}: {first.sentence}{more}; correct the data, or pass bad_data='drop' "
        f"(--bad-data drop) to drop {them}"
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
