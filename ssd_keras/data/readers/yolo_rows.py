"""Rows of YOLO label files: a box or a polygon of one object."""

import math
import os
import re
from collections.abc import Sequence

from ssd_keras.core.text import marked_encoding
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import AnnotatedObject
from ssd_keras.data.readers.yolo_names import YoloSettings
from ssd_keras.data.records import Box

MAX_SHOWN = 60  # characters of a row that a message quotes
VISIBILITIES = (0, 1, 2)  # of key points
DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")


def read_rows(path: str, settings: YoloSettings) -> tuple[list[AnnotatedObject], list[Problem]]:
    """Returns the objects of a label file with relative yxyx boxes, and what is wrong with others.

    Each row is judged alone.
    """
    objects: list[AnnotatedObject] = []
    problems: list[Problem] = []
    for number, line in enumerate(read_lines(path) if path else (), start=1):
        row = line.partition("#")[0].strip()
        if not row:
            continue
        location = f"{path}: line {number}"
        try:
            label, numbers = _parse(row)
            if len(numbers) == settings.pose_length:
                problems.append(Problem(ProblemKind.POSE_ROW, location, _quoted(row)))
                numbers = numbers[:4]
            corners, name = _corners(row, numbers), _class_name(label, settings.names)
            objects.append(AnnotatedObject(f"line {number}", name, corners))
        except BadDataError as error:
            problems.append(problem_of(error, location))
    return objects, problems


def read_lines(path: str) -> list[str]:
    """Returns the lines of a text file, with marks for letters that cannot be read."""
    if not os.path.isfile(path):  # opening a pipe would block
        raise BadDataError(ProblemKind.BAD_ANNOTATION, f"{path} is not a file")
    with open(path, "rb") as file:
        content = file.read()
    return content.decode(marked_encoding(content) or "utf-8-sig", errors="replace").splitlines()


def is_row(lines: Sequence[str]) -> bool:
    """Whether the first line looks like that of an object: a class and four numbers or more."""
    try:
        return bool(lines) and len(_parse(lines[0])[1]) >= 4
    except BadDataError:
        return False


def _parse(row: str) -> tuple[int, list[float]]:
    """Returns the class number of a row and the numbers behind it."""
    try:
        label, *numbers = map(float, _words(row))
    except ValueError:
        raise BadDataError(ProblemKind.BAD_LINE, _quoted(row)) from None
    if not label.is_integer():  # tools that write all columns as floats write 0.0
        raise BadDataError(ProblemKind.BAD_LINE, _quoted(row))
    return int(label), numbers


def _words(row: str) -> list[str]:
    """Returns the columns of a row, which blanks, semicolons or commas divide."""
    words = row.replace(";", " ").split()
    if len(words) > 1 and "." not in row and any(map(DECIMAL_COMMA.search, words)):
        return [DECIMAL_COMMA.sub(".", word) for word in words]
    return row.replace(";", " ").replace(",", " ").split()


def _corners(row: str, numbers: Sequence[float]) -> Box:
    """Returns the relative yxyx box of a row: of centre and sides, or of a polygon's points."""
    if len(numbers) == 5 and 0 <= numbers[4] <= 1:  # a confidence
        numbers = numbers[:4]
    if len(numbers) == 4:
        x, y, width, height = numbers
        return y - height / 2, x - width / 2, y + height / 2, x + width / 2
    if _is_pose(numbers):
        words = f"{_quoted(row)} (a pose row? then data.yaml needs kpt_shape)"
        raise BadDataError(ProblemKind.BAD_LINE, words)
    is_far = any(not -1 <= number <= 2 for number in numbers if math.isfinite(number))
    if len(numbers) < 6 or len(numbers) % 2 or is_far:  # far: a box, a score and a track's number
        raise BadDataError(ProblemKind.BAD_LINE, _quoted(row))
    xs, ys = numbers[::2], numbers[1::2]
    if not all(map(math.isfinite, numbers)):  # else `min` would pass over a NaN
        xs = ys = [math.nan]
    return min(ys), min(xs), max(ys), max(xs)


def _is_pose(numbers: Sequence[float]) -> bool:
    """Whether numbers are a box and key points: x, y and a visibility each."""
    points = list(zip(numbers[4::3], numbers[5::3], numbers[6::3], strict=False))
    if len(numbers) != 4 + 3 * len(points) or any(v not in VISIBILITIES for _, _, v in points):
        return False
    center_x, center_y, width, height = numbers[:4]
    return max(numbers[6::3]) > 1 or all(  # a polygon's numbers end at 1
        2 * abs(x - center_x) <= width and 2 * abs(y - center_y) <= height
        for x, y, visibility in points
        if visibility
    )


def _class_name(label: int, names: Sequence[str]) -> str:
    if not 0 <= label < len(names):
        detail = f"{label}; expected a number from 0 to {len(names) - 1}"
        raise BadDataError(ProblemKind.UNKNOWN_CLASS, detail, str(label))
    return names[label]


def _quoted(row: str) -> str:
    return f"'{row[:MAX_SHOWN]}'"
