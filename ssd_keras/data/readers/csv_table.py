"""Reads CSV tables: a line for each object, columns found by their names in the first line."""

import csv
import os
from collections.abc import Sequence

from ssd_keras.core.text import is_plain_text
from ssd_keras.data.image_files import leaves_folder
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    ReadOptions,
    assemble,
    read_corners,
)
from ssd_keras.data.records import CORNERS, DetectionData

# Accepted names of each column; only `difficult` may be absent.
COLUMNS = {
    "filename": ("filename", "file_name", "image", "image_path", "path"),
    "class": ("class", "class_name", "label", "name"),
    "xmin": ("xmin", "x_min", "x1", "left"),
    "ymin": ("ymin", "y_min", "y1", "top"),
    "xmax": ("xmax", "x_max", "x2", "right"),
    "ymax": ("ymax", "y_max", "y2", "bottom"),
    "difficult": ("difficult", "is_difficult"),
}
DELIMITERS = ",;\t"


def read_csv(table: str, image_folder: str, options: ReadOptions) -> DetectionData:
    """Reads a table with the columns filename, class, xmin, ymin, xmax and ymax.

    Corners are pixels from 0, and width = xmax - xmin. A line without class and corners is an
    image without objects.
    """
    if not os.path.isfile(table):
        raise FileNotFoundError(f"no table {table}; expected a CSV file there")
    if not os.path.isdir(image_folder):
        raise FileNotFoundError(f"no folder {image_folder}; expected the folder of the images")
    images: dict[str, AnnotatedImage] = {}
    problems: list[Problem] = []
    with open(table, encoding="utf-8-sig", errors="replace", newline="") as file:
        first_line = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=max(DELIMITERS, key=first_line.count))
        try:
            columns = _find_columns(next(reader, []), table)
            for cells in reader:
                row = {name: _cell(cells, index) for name, index in columns.items()}
                if any(cell.strip() for cell in cells):
                    _add_row(row, reader.line_num, table, image_folder, images, problems)
        except csv.Error as error:
            raise ValueError(f"{table}: line {reader.line_num} is not CSV ({error})") from error
    return assemble(list(images.values()), None, problems, options)


def _find_columns(header: Sequence[str], table: str) -> dict[str, int]:
    """Returns the index of each column."""
    titles = [title.strip().lower() for title in header]
    columns: dict[str, int] = {}
    for name, aliases in COLUMNS.items():
        title = next((alias for alias in aliases if alias in titles), None)
        if title is not None:
            columns[name] = titles.index(title)
        elif name != "difficult":
            raise ValueError(
                f"{table} has no column '{name}' ({', '.join(aliases)}) in its first line: "
                f"{', '.join(titles)[:100]!r}; expected filename,class,xmin,ymin,xmax,ymax"
            )
    return columns


def _cell(cells: Sequence[str], index: int) -> str:
    return cells[index].strip() if index < len(cells) else ""


def _add_row(
    row: dict[str, str],
    line: int,
    table: str,
    folder: str,
    images: dict[str, AnnotatedImage],
    problems: list[Problem],
) -> None:
    name, class_name = row["filename"], row["class"]
    try:
        if not is_plain_text(name):
            raise BadDataError(ProblemKind.NO_IMAGE_PATH, repr(name) if name else "missing")
        if leaves_folder(name):
            raise BadDataError(ProblemKind.PATH_OUTSIDE, name)
        path, stem = os.path.join(folder, name), os.path.splitext(name)[0]
        image = images.setdefault(name, AnnotatedImage(stem, path, 0, 0, table, [], (folder,)))
        texts = [row[corner] for corner in CORNERS]
        if not class_name and not any(texts):
            return
        if not is_plain_text(class_name):
            raise BadDataError(ProblemKind.NO_CLASS_NAME)
        left, top, right, bottom = read_corners(texts)
    except BadDataError as error:
        problems.append(problem_of(error, f"{table}: line {line}"))
        return
    box = (left, top, right - left, bottom - top)
    is_difficult = row.get("difficult") == "1"
    image.objects.append(
        AnnotatedObject(f"line {line}", class_name, box, is_difficult=is_difficult)
    )
