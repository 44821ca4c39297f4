"""Sources of images for batch prediction, and the bytes of their images.

A source is what `predict` takes, a list of paths, TFRecords, or a folder of an object storage. Each
image has one line of text, its location: a path, an address such as s3://bucket/a.jpg, or
tfrecord:FILE#BYTE, where its record begins.
"""

import functools
import os
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ssd_keras.core.extras import import_extra
from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.core.text import one_line, words_of
from ssd_keras.data.problems import BadDataError, ProblemKind
from ssd_keras.data.readers.record_files import Features, read_record, record_starts
from ssd_keras.data.specs import matching_files
from ssd_keras.engine.image_paths import find_images

TFRECORD, LIST = "tfrecord:", "@"
LIST_EXTENSION = ".txt"
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://")
ERRORS = "surrogateescape"  # file names may be any bytes


class StoredImage(NamedTuple):
    """Where an image lies, a path or its encoded bytes, and the id that a record has for it."""

    source: str | bytes
    image_id: str | None = None


def find_locations(sources: Sequence[str]) -> list[str]:
    """Returns the locations of all images of the sources, each once."""
    found: dict[str, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_locations(source)))
    bad = next((location for location in found if "\n" in location or "\r" in location), None)
    if bad is not None:
        raise ValueError(
            f"the name of image {one_line(repr(bad))} has a line break; rename it: the list of "
            "images has one in each line."
        )
    return list(found)


def _locations(source: str) -> Sequence[str]:
    if source.startswith(TFRECORD):
        return _records(source.removeprefix(TFRECORD))
    if source.startswith(LIST):
        return _listed(source.removeprefix(LIST))
    if ADDRESS.match(source) and not os.path.lexists(source):
        return _stored(source)
    if source.lower().endswith(LIST_EXTENSION) and os.path.isfile(source):
        return _listed(source)
    return list(map(_whole_path, find_images([source])))


def _whole_path(location: str) -> str:
    """Returns a path as workers find it, whose folder is another one."""
    if ADDRESS.match(location) or location.startswith(TFRECORD):
        return location
    return os.path.abspath(location)


def _listed(path: str) -> list[str]:
    """Returns the lines of a list."""
    try:
        with open(path, encoding="utf-8-sig", errors=ERRORS) as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise FileNotFoundError(
            f"list {one_line(repr(path))} cannot be read ({error.strerror}); expected a text file "
            "with the path of an image in each line."
        ) from error
    if not any(lines):
        raise ValueError(
            f"list {one_line(repr(path))} is empty; expected the path of an image in each line."
        )
    return [_whole_path(line) for line in lines if line]


def _records(pattern: str) -> list[str]:
    if ADDRESS.match(pattern):
        raise ValueError(
            f"{TFRECORD}{one_line(pattern)} is an address; TFRecords are read from files alone: "
            "mount the storage, or copy them."
        )
    files = matching_files(pattern)
    if not files:
        raise FileNotFoundError(
            f"no file matches {one_line(repr(pattern))}; expected TFRecord files, such as "
            f"{TFRECORD}'data/train-*'."
        )
    return [
        f"{TFRECORD}{path}#{start}"
        for path in map(os.path.abspath, files)
        for start in record_starts(path)
    ]


def _stored(address: str) -> list[str]:
    """Returns the addresses of an object storage's file, or of all images below a folder."""
    from pyarrow import fs

    storage, path = _storage(address)
    try:
        info = storage.get_file_info(path)
        if info.type == fs.FileType.Directory:
            below = storage.get_file_info(fs.FileSelector(path, recursive=True))
            files = [one.path for one in below if one.type == fs.FileType.File]
            paths = sorted(file for file in files if file.lower().endswith(IMAGE_EXTENSIONS))
        else:
            paths = [path] if info.type == fs.FileType.File else []
    except OSError as error:
        raise ValueError(
            f"{one_line(repr(address))} cannot be read ({words_of(error)}); correct the "
            "address, or the rights of this account."
        ) from error
    if not paths:
        raise FileNotFoundError(
            f"{one_line(repr(address))} holds no image; expected the address of an image, or of a "
            "folder with files that end in .jpg, .png or as another format that Pillow opens."
        )
    scheme, _, query = _parts(address)
    return [f"{scheme}://{urllib.parse.quote(one)}{query}" for one in paths]


def _parts(address: str) -> tuple[str, str, str]:
    """Returns scheme, path and query ("" or with its "?") of an address."""
    scheme, _, rest = address.partition("://")
    path, mark, query = rest.partition("?")
    return scheme, path, mark + query


def _storage(address: str) -> tuple[Any, str]:
    """Returns the file system of an address, one for each storage, and the path in it."""
    scheme, path, query = _parts(address)
    bucket, slash, rest = path.partition("/")
    storage, start = _file_system(f"{scheme}://{bucket}{'/' if slash else ''}{query}")
    return storage, start.rstrip("/") + slash + urllib.parse.unquote(rest).rstrip("/")


@functools.cache
def _file_system(root: str) -> tuple[Any, str]:
    fs = import_extra("pyarrow.fs", "ray", "reading an object storage")
    try:
        return fs.FileSystem.from_uri(root)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{one_line(repr(root))} cannot be opened ({words_of(error)}); expected s3://, gs://, "
            "hdfs:// or file://."
        ) from error


def stored_image(location: str) -> StoredImage:
    """Returns an image of `find_locations`; raises what reading it raises."""
    if location.startswith(TFRECORD):
        path, _, start = location.removeprefix(TFRECORD).rpartition("#")
        features = Features(read_record(path, int(start)))
        encoded = next(iter(features.bytes("image/encoded")), b"")
        if not encoded:
            raise BadDataError(ProblemKind.BAD_RECORD, "no image/encoded")
        ids = features.texts("image/source_id") + features.texts("image/filename")
        return StoredImage(encoded, next(filter(None, ids), None))
    if ADDRESS.match(location) and not os.path.lexists(location):
        storage, path = _storage(location)
        with storage.open_input_file(path) as file:
            return StoredImage(file.read())
    return StoredImage(location)


def lines_of(locations: Sequence[str]) -> bytes:
    """Returns a list as it is stored: a location in each line."""
    return "".join(f"{location}\n" for location in locations).encode("utf-8", ERRORS)


def shown(location: str) -> str:
    """Returns a location as text that every format holds."""
    return location.encode("utf-8", ERRORS).decode("utf-8", "replace")


def split_list(locations: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yields the list in parts of a size; the last may be smaller."""
    for start in range(0, len(locations), size):
        yield locations[start : start + size]
