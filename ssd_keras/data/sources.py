"""Loads data sets by specs such as "voc:ROOT@SPLIT": parses specs, calls readers, unites data."""

import contextlib
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import NamedTuple

from ssd_keras.core.class_names import check_class_names
from ssd_keras.core.images import MAX_PIXELS
from ssd_keras.core.origin import joined_licences
from ssd_keras.core.terminal import shows_progress
from ssd_keras.core.text import nearest_name, one_line, unknown_name
from ssd_keras.data.data_file import EXTENSION, PARTS, is_data_file, read_data_file
from ssd_keras.data.licences import licence_of_folders
from ssd_keras.data.problems import Problem
from ssd_keras.data.readers.assemble import ReadOptions
from ssd_keras.data.readers.coco import read_coco
from ssd_keras.data.readers.csv_table import read_csv
from ssd_keras.data.readers.image_folder import read_image_folder
from ssd_keras.data.readers.synthetic import read_synthetic
from ssd_keras.data.readers.tfds import read_tfds
from ssd_keras.data.readers.tfrecord import read_tfrecord
from ssd_keras.data.readers.voc import read_voc
from ssd_keras.data.readers.yolo import read_yolo
from ssd_keras.data.records import DetectionData
from ssd_keras.data.specs import (
    SpecForm,
    has_matches,
    is_any,
    is_file,
    is_folder,
    join_parts,
    split_parts,
)
from ssd_keras.data.unions import (
    ClassChanges,
    change_classes,
    make_changes,
    relabel,
    similar_names,
    unite,
    unknown_changes,
    with_source,
)


class SourceSpec(NamedTuple):
    """The spec of one data set, and what the data file that names it says of it."""

    spec: str
    changes: ClassChanges = ClassChanges()
    licence: str = ""


class ReaderSpec(NamedTuple):
    """A data format: prefix and form of its specs, what it reads, an example, and its reader."""

    prefix: str
    form: SpecForm
    read: Callable[[str, str, ReadOptions], DetectionData]  # of what surrounds the "@"
    meaning: str
    example: str

    def __str__(self) -> str:
        lines = textwrap.wrap(self.meaning, WIDTH - 4)
        return "\n    ".join([self.form.text, *lines, f"such as {self.example}"])


_SPECS = (
    ReaderSpec(
        "voc",
        SpecForm("voc:ROOT@SPLIT", is_folder),
        read_voc,
        "Pascal VOC: Annotations/*.xml, JPEGImages and ImageSets/Main/SPLIT.txt in ROOT, or a "
        "folder SPLIT with images and XML files. SPLIT `all` takes every image; with "
        "`SPLIT+negatives`, images without an XML file have no objects.",
        "voc:VOC2007@trainval",
    ),
    ReaderSpec(
        "coco",
        SpecForm("coco:ANNOTATIONS.json@IMAGES_DIR", is_file, is_folder, ".json"),
        read_coco,
        "COCO: one JSON file with images, annotations and categories.",
        "coco:annotations/instances_train2017.json@train2017",
    ),
    ReaderSpec(
        "yolo",
        SpecForm("yolo:ROOT@SPLIT", is_any),
        read_yolo,
        "YOLO: a folder, or its data.yaml, whose images have text files with a line for each "
        "object. SPLIT is train, val or test.",
        "yolo:coco128/data.yaml@train",
    ),
    ReaderSpec(
        "images",
        SpecForm("images:DIR", is_folder, needs_second=False),
        read_image_folder,
        "Images without objects, as examples of background beside other data sets.",
        "images:backgrounds",
    ),
    ReaderSpec(
        "csv",
        SpecForm("csv:TABLE.csv@IMAGES_DIR", is_file, is_folder, ".csv"),
        read_csv,
        "A table with a row for each object: file name, class, corners of the box.",
        "csv:labels.csv@images",
    ),
    ReaderSpec(
        "tfrecord",
        SpecForm("tfrecord:PATTERN[@LABEL_MAP]", has_matches, is_file, needs_second=False),
        read_tfrecord,
        "TFRecord files of the TensorFlow Object Detection API, with or without their label map.",
        "tfrecord:'train-*.tfrecord@labels.pbtxt'",
    ),
    ReaderSpec(
        "tfds",
        SpecForm("tfds:voc/2007@train"),
        read_tfds,
        "A detection data set that TensorFlow Datasets has prepared.",
        "tfds:voc/2007@train",
    ),
    ReaderSpec(
        "synthetic",
        SpecForm("synthetic:shapes@train|val|test"),
        read_synthetic,
        "Generated images of five shapes, to try things out; `train[:120]` takes the first 120.",
        "synthetic:shapes@train[:120]",
    ),
)
READERS = {spec.prefix: spec for spec in _SPECS}
FORMS = ", ".join([*(spec.form.text for spec in _SPECS), "data.toml"])
BAD_DATA_CHOICES = ("drop", "refuse")
MAX_ERROR_LENGTH = 2000
WIDTH = 100  # of lines for `ssd-keras info data`


def load_data(
    specs: str | Sequence[str],
    *,
    class_names: Sequence[str] | None = None,
    bad_data: str = "drop",
    check_images: bool = True,
    progress: bool | None = None,
    part: str = "train",
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    max_pixels: int = MAX_PIXELS,
) -> DetectionData:
    """Loads the annotations of one or several data sets; no image is decoded.

    Args:
        specs: one data set or several, which are united by class name: "voc:ROOT@SPLIT",
            "voc:ROOT@SPLIT+negatives" (images without an XML file have no objects),
            "coco:ANNOTATIONS.json@IMAGES_DIR", "yolo:ROOT@SPLIT", "images:DIR" (images without
            objects; the other data sets have the classes), "csv:TABLE.csv@IMAGES_DIR",
            "tfrecord:PATTERN[@LABEL_MAP]", "tfds:voc/2007@train", "synthetic:shapes@train" (its
            first 120 images: "synthetic:shapes@train[:120]"), or a data file "data.toml" (see
            `ssd_keras.data.data_file`), whose validation data are "data.toml@validation".
        class_names: names in label order; default None, those of the data or the data file.
        bad_data: "drop" (default) drops what cannot be used and lists it in `problems`;
            "refuse" raises an error.
        check_images: whether to read both ends of each image file, default True. False opens only
            images whose size is not annotated: enough for scoring.
        progress: whether to show progress bars. Default None: in terminals and notebooks.
        part: "train" (default) or "validation", of data files whose spec names no part.
        rename: new names of classes, as {"van": "vehicle", "bus": "vehicle"}, which makes two
            classes one; default None. Data files have their own.
        drop: classes whose objects are not used; default none.
        max_pixels: images with more pixels are dropped as too large; default 178_956_970.

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
    specs = [specs] if isinstance(specs, str) else list(specs or ())
    if not specs:
        raise ValueError(f"no data given; expected at least one of {FORMS}")
    with _errors_in_one_line():
        expanded, file_class_names = expand_data_files(specs, part)
        changes = make_changes(rename or {}, drop, "data")
        if class_names is None:
            class_names = file_class_names
        if class_names is not None:
            check_class_names(class_names)
    options = ReadOptions(class_names, check_images, shows_progress(progress), max_pixels)
    sources, notes = _read_all(expanded, changes, options)
    if len(sources) > 1:
        pairs = zip(expanded, sources, strict=True)
        sources = [with_source(source, spec) for (spec, *_), source in pairs]
    data = unite(sources, class_names)
    notes += similar_names(data.class_names, ", ".join(specs))
    licence = joined_licences(
        of_file or source.licence for (*_, of_file), source in zip(expanded, sources, strict=True)
    )
    data = replace(data, problems=(*data.problems, *notes), sources=tuple(specs), licence=licence)
    if bad_data == "refuse":
        _refuse_problems(data)
    for (spec, *_), source in zip(expanded, sources, strict=True):
        if not source.examples:
            first = f"; the first problem: {source.problems[0]}" if source.problems else ""
            raise ValueError(
                f"data '{one_line(spec)}': no image is left; expected at least one that can be "
                f"used{first}"
            )
    return data


def _read_all(
    specs: Sequence[SourceSpec], changes: ClassChanges, options: ReadOptions
) -> tuple[list[DetectionData], list[Problem]]:
    """Returns the data sets, with the changes of their data file and then those of all made.

    The notes name what is to be changed and is in none of them.
    """
    if not changes and not any(of_file for _, of_file, _ in specs):
        return [_read(spec, options) for spec, *_ in specs], []
    sources = [_read(spec, options._replace(class_names=None)) for spec, *_ in specs]
    notes: list[Problem] = []
    for of_file in {id(each): each for _, each, _ in specs}.values():
        own = [index for index, (_, each, _) in enumerate(specs) if each is of_file]
        notes += unknown_changes(of_file, [sources[index] for index in own], specs[own[0]][0])
        for index in own:
            sources[index] = change_classes(sources[index], of_file)
    notes += unknown_changes(changes, sources, ", ".join(spec for spec, *_ in specs))
    sources = [change_classes(source, changes) for source in sources]
    if options.class_names is not None:
        sources = [relabel(source, options.class_names) for source in sources]
    return sources, notes


def expand_data_files(
    specs: Sequence[str], part: str = "train"
) -> tuple[list[SourceSpec], tuple[str, ...] | None]:
    """Returns the specs that data files stand for, and the files' class names."""
    expanded: list[SourceSpec] = []
    class_names = None
    for spec in specs:
        if not is_data_file(spec):
            expanded.append(SourceSpec(spec))
            continue
        path, _, name = (spec, "", part) if spec.endswith(EXTENSION) else spec.rpartition("@")
        data_file = read_data_file(os.path.expanduser(path), join_folder)
        part_specs = getattr(data_file, name) if name in PARTS else ()
        if not part_specs:
            choices = [choice for choice in PARTS if getattr(data_file, choice)]
            raise ValueError(f"data file {path}: {unknown_name('part', name, choices)}")
        changes, licence = data_file.changes, data_file.licence
        expanded += [SourceSpec(part_spec, changes, licence) for part_spec in part_specs]
        class_names = class_names or data_file.class_names
    return expanded, class_names


def parts_of(spec: str) -> list[str]:
    """Returns the parts of a data file, such as "data.toml@train", and any other spec as it is."""
    if not spec.endswith(EXTENSION):
        return [spec]
    data_file = read_data_file(os.path.expanduser(spec), join_folder)
    return [f"{spec}@{part}" for part in PARTS if getattr(data_file, part)]


def formats_of(specs: Sequence[str]) -> set[str]:
    """Returns the formats of data sets, such as "voc", those in data files included."""
    expanded, _ = expand_data_files([part for spec in specs for part in parts_of(spec)])
    return {spec.partition(":")[0] for spec, *_ in expanded}


def join_folder(spec: str, folder: str, paths: ModuleType = os.path) -> str:
    """Returns a spec with its paths relative to a folder."""
    prefix, rest = _split_format(spec)
    form = READERS[prefix].form
    first, second = join_parts(split_parts(rest, form, folder), form, folder, paths)
    return f"{prefix}:{first}@{second}" if second else f"{prefix}:{first}"


def parse_spec(spec: str) -> tuple[ReaderSpec, str, str]:
    """Returns the format of a spec and what surrounds its "@"."""
    prefix, rest = _split_format(spec)
    first, second = split_parts(rest, READERS[prefix].form)
    return READERS[prefix], first, second


def _split_format(spec: str) -> tuple[str, str]:
    """Returns the name of a spec's format and what follows its colon."""
    prefix, colon, rest = spec.partition(":")
    if not colon or prefix not in READERS:
        problem = f"unknown format '{one_line(prefix)}'" if colon else "it begins with no format"
        nearest = nearest_name(prefix, READERS) if colon else None
        meant = f"did you mean {READERS[nearest].form.text}? " if nearest else ""
        expected = meant or "expected such as voc:ROOT@SPLIT; "
        raise ValueError(f"{problem}; {expected}`ssd-keras info data` lists all kinds of data")
    return prefix, rest


def _read(spec: str, options: ReadOptions) -> DetectionData:
    with _errors_in_one_line(f"data '{one_line(spec)}': "):
        reader, first, second = parse_spec(spec)
        first, second = os.path.expanduser(first), os.path.expanduser(second)
        data = reader.read(first, second, options)
    paths = [path for path in (first, second) if os.path.exists(path)]
    return data if data.licence else replace(data, licence=licence_of_folders(paths))


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
