"""Finds what divides the cells of a CSV table, and which of its columns are which."""

import io
from collections.abc import Sequence
from typing import NamedTuple

from ssd_keras.boxes.formats import CORNERS
from ssd_keras.data.problems import Problem, ProblemKind

# Accepted names of each column, in small letters without blanks.
NAMES = {
    "filename": ("filename", "file_name", "image", "image_path", "path", "image_name", "imageid",
                 "image_id", "img_path", "filepath", "file_path", "file"),
    "class": ("class", "class_name", "label", "name", "labelname", "label_name", "category",
              "category_name"),
    "xmin": ("xmin", "x_min", "x1", "left", "bbox_xmin", "bbox_x1"),
    "ymin": ("ymin", "y_min", "y1", "top", "bbox_ymin", "bbox_y1"),
    "xmax": ("xmax", "x_max", "x2", "right", "bbox_xmax", "bbox_x2"),
    "ymax": ("ymax", "y_max", "y2", "bottom", "bbox_ymax", "bbox_y2"),
    "x": ("bbox_x", "x"),
    "y": ("bbox_y", "y"),
    "box_width": ("bbox_width", "box_width", "w"),
    "box_height": ("bbox_height", "box_height", "h"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
    "difficult": ("difficult", "is_difficult"),
}  # fmt: skip
SIDES = ("x", "y", "box_width", "box_height")
DELIMITERS = ",;\t|"
RETINANET = ("filename", *("xmin", "ymin", "xmax", "ymax"), "class")  # tables without names
EXPECTED = "expected filename,class,xmin,ymin,xmax,ymax"


class Dialect(NamedTuple):
    """What divides cells, and how many lines stand before the names of the columns."""

    delimiter: str
    num_skipped: int


def find_dialect(text: str) -> Dialect:
    """Returns the dialect of a table; "sep=;", comments and empty lines may stand before it."""
    delimiter = ""
    for number, line in enumerate(io.StringIO(text, newline="")):
        mark = line.strip(' "\r\n')
        if mark.lower().startswith("sep=") and len(mark) == 5:
            delimiter = mark[4]
        elif mark and not mark.startswith("#"):
            return Dialect(delimiter or max(DELIMITERS, key=line.count), number)
    return Dialect(",", 0)


def find_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], table: str
) -> tuple[dict[str, int], list[Problem]]:
    """Returns the index of each column and notes, from the first line and some lines after it."""
    titles = [title.strip().lower().replace(" ", "_") for title in header]
    columns: dict[str, int] = {}
    notes: list[Problem] = []
    for name, aliases in NAMES.items():
        indices = [titles.index(alias) for alias in aliases if alias in titles]
        if len(indices) > 1:
            # An image's or a class's number beside its name.
            indices.sort(key=lambda index: _are_numbers(rows, index))
            choices = ", ".join(header[index].strip() for index in indices)
            detail = f"{choices} for '{name}'"
            notes.append(Problem(ProblemKind.SEVERAL_COLUMNS, table, detail))
        if indices:
            columns[name] = indices[0]
    if not columns and _is_retinanet(header):
        notes.append(Problem(ProblemKind.NO_COLUMN_NAMES, table))
        return {name: index for index, name in enumerate(RETINANET)}, notes
    _check_columns(columns, titles, table)
    return columns, notes


def _check_columns(columns: dict[str, int], titles: Sequence[str], table: str) -> None:
    boxes = SIDES if columns.keys() >= {*SIDES} else CORNERS
    for name in ("filename", "class", *boxes):
        if name in columns:
            continue
        first_line = f"{', '.join(titles)[:100]!r}"
        if "region_shape_attributes" in titles:
            raise ValueError(f"{table} is a table of VIA; export COCO's JSON there, and read it")
        if not columns and any(map(_is_number, titles)):
            raise ValueError(
                f"{table} has no column names in its first line: {first_line}; write a line of "
                "names above it, such as filename,class,xmin,ymin,xmax,ymax"
            )
        raise ValueError(
            f"{table} has no column '{name}' ({', '.join(NAMES[name])}) in its first line: "
            f"{first_line}; {EXPECTED}"
        )


def _is_retinanet(cells: Sequence[str]) -> bool:
    """Whether the cells are path, x1, y1, x2, y2 and class, or a path and empty cells."""
    if len(cells) != len(RETINANET) or not cells[0].strip() or _is_number(cells[0]):
        return False
    corners, class_name = cells[1:5], cells[5].strip()
    if not class_name:
        return not any(map(str.strip, corners))
    return all(map(_is_number, corners)) and not _is_number(class_name)


def _are_numbers(rows: Sequence[Sequence[str]], index: int) -> bool:
    cells = (row[index].strip() for row in rows if index < len(row))
    return all(_is_number(cell) for cell in cells if cell)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
