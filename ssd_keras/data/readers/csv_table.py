"""Reads CSV tables: a line for each object, columns found by their names in the first line."""

import csv
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ssd_keras.boxes.formats import CORNERS
from ssd_keras.core.text import clean_name, is_plain_text, read_text
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    ReadOptions,
    assemble,
    read_corners,
    read_flag,
    read_relative_boxes,
    read_side,
)
from ssd_keras.data.readers.csv_columns import SIDES, find_columns, find_dialect
from ssd_keras.data.readers.file_index import require_folder
from ssd_keras.data.readers.listed_images import find_listed_images, listed_image
from ssd_keras.data.records import DetectionData

Row = dict[str, str]
NUMBERS = (*CORNERS, *SIDES, "width", "height")
EMPTY_CELLS = ("nan", "<na>")  # as pandas writes what is missing
NUM_LINES_SEEN = 100  # lines that decide which of several columns counts


def read_csv(table: str, image_folder: str, options: ReadOptions) -> DetectionData:
    """Reads a table with the columns filename, class, xmin, ymin, xmax and ymax.

    Corners are pixels from 0, and width = xmax - xmin. A line without class and corners is an
    image without objects.
    """
    if not os.path.isfile(table):
        raise FileNotFoundError(f"no table {table}; expected a CSV file there")
    require_folder(image_folder, "the images")
    rows, problems = _read_rows(read_text(table), table)
    names = (row["filename"] for _, row in rows if is_plain_text(row["filename"]))
    found = find_listed_images(names, image_folder)
    images: dict[str, AnnotatedImage] = {}
    for line, row in rows:
        location = f"{table}: line {line}"
        try:
            if not is_plain_text(row["filename"]):
                detail = repr(row["filename"]) if row["filename"] else "missing"
                raise BadDataError(ProblemKind.NO_IMAGE_PATH, detail)
            path = listed_image(row["filename"], found, image_folder, location, problems)
            listed = _image(row, path, table, image_folder)
            image = images.setdefault(os.path.normpath(path), listed)
            if (image.height, image.width) != (listed.height, listed.width):
                sizes = f"{image.width}x{image.height} pixels in an earlier line; expected "
                sizes += f"{listed.width}x{listed.height}"
                raise BadDataError(ProblemKind.OTHER_SIZE, sizes)
            image.objects.extend(_objects(row, line, location, problems))
        except BadDataError as error:
            problems.append(problem_of(error, location))
    annotated, more = read_relative_boxes(list(images.values()), table)
    return assemble(annotated, None, problems + more, options)


def _read_rows(text: str, table: str) -> tuple[list[tuple[int, Row]], list[Problem]]:
    """Returns the rows with the numbers of their lines, and notes on the columns."""
    delimiter, num_skipped = find_dialect(text)
    lines = io.StringIO(text, newline="")
    for _ in range(num_skipped):
        next(lines)
    cells = _cells(csv.reader(lines, delimiter=delimiter), table, num_skipped)
    seen = list(itertools.islice(cells, 1 + NUM_LINES_SEEN))
    header = seen[0][1] if seen else []
    columns, notes = find_columns(header, [row for _, row in seen[1:]], table)
    has_names = all(note.kind is not ProblemKind.NO_COLUMN_NAMES for note in notes)
    rows = itertools.chain(seen[1 if has_names else 0 :], cells)
    has_commas = delimiter != ","  # numbers may then be written as 0,5
    return [(line, _row(row, columns, has_commas)) for line, row in rows], notes


def _cells(reader: Any, table: str, start: int) -> Iterator[tuple[int, list[str]]]:
    """Yields the lines that are not empty, with their numbers."""
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start + reader.line_num, cells
    except csv.Error as error:
        line = start + reader.line_num
        raise ValueError(f"{table}: line {line} is not CSV ({error})") from error


def _row(cells: Sequence[str], columns: dict[str, int], has_commas: bool) -> Row:
    row = {}
    for name, index in columns.items():
        text = cells[index].strip() if index < len(cells) else ""
        text = "" if text.lower() in EMPTY_CELLS else text
        row[name] = text.replace(",", ".") if has_commas and name in NUMBERS else text
    return row


def _image(row: Row, path: str, table: str, folder: str) -> AnnotatedImage:
    image_id = os.path.splitext(os.path.relpath(path, folder))[0]
    height, width = (read_side(row.get(name)) for name in ("height", "width"))
    return AnnotatedImage(image_id, path, height, width, table, [], (folder,))


def _objects(row: Row, line: int, location: str, problems: list[Problem]) -> list[AnnotatedObject]:
    """Returns the object of a line, or none of a line that stands for an empty image."""
    texts = [row.get(name, "") for name in CORNERS]
    if not any(texts):
        texts = _corners_of_sides([row.get(name, "") for name in SIDES])
    if not row["class"] and not any(texts):
        return []
    name = clean_name(row["class"])
    if not is_plain_text(name):
        raise BadDataError(ProblemKind.NO_CLASS_NAME)
    (left, top, right, bottom), swapped = read_corners(texts)
    is_difficult = read_flag(row.get("difficult"), "difficult", location, problems)
    box = (left, top, right - left, bottom - top)
    return [
        AnnotatedObject(
            f"line {line}", name, box, is_difficult=is_difficult, swapped_corners=swapped
        )
    ]


def _corners_of_sides(texts: Sequence[str]) -> list[str]:
    try:
        x, y, width, height = map(float, texts)
    except ValueError:
        return list(texts)
    return [f"{x!r}", f"{y!r}", f"{x + width!r}", f"{y + height!r}"]
