"""Tables of what splits hold: classes side by side, sizes and shapes of the objects."""

from collections.abc import Sequence

import numpy as np

from ssd_keras.core.text import short_list
from ssd_keras.data.splits import Split
from ssd_keras.doctor.object_sizes import small_objects_text
from ssd_keras.doctor.statistics import (
    ASPECT_EDGES,
    ASPECT_NAMES,
    SIDE_EDGES,
    ClassStatistics,
    class_statistics,
    histogram,
    pixel_boxes,
    sides_and_aspects,
)

MAX_CLASSES = 30
MAX_SPLITS = 3  # side by side
MAX_NAME_LENGTH = 32
SIDE_NAMES = (
    f"<{SIDE_EDGES[0]}",
    *(f"{low}-{high}" for low, high in zip(SIDE_EDGES, SIDE_EDGES[1:], strict=False)),
    f">={SIDE_EDGES[-1]}",
)
INDENT = "  "


def split_tables(splits: Sequence[Split]) -> str:
    """Returns a line for each split, the table of classes, and the objects' sizes and shapes."""
    statistics = [class_statistics(split.data) for split in splits]
    lines = [_title(split, rows) for split, rows in zip(splits, statistics, strict=True)]
    order = _row_order(statistics)
    for start in range(0, len(splits), MAX_SPLITS):
        part = slice(start, start + MAX_SPLITS)
        lines += ["", *_class_table(splits[part], statistics[part], order)]
    lines += _hidden_classes(statistics, len(order))
    for split in splits:
        if len(pixel_boxes(split.data)):
            lines += ["", *_size_lines(split)]
    return "\n".join(lines)


def _title(split: Split, rows: Sequence[ClassStatistics]) -> str:
    *classes, total = rows
    empty = sum(not len(example.labels) for example in split.data.examples)
    used = sum(row.objects > 0 for row in classes)
    of_all = f" of {len(classes)}" if used < len(classes) else ""
    return (
        f"{split.name}: {len(split.data)} images ({empty} without objects), "
        f"{total.objects} objects, {used}{of_all} classes"
    )


def _row_order(statistics: Sequence[Sequence[ClassStatistics]]) -> list[int]:
    """Returns the labels of the table, the most frequent in all splits first."""
    totals = [sum(row.objects for row in rows) for rows in zip(*statistics, strict=True)][:-1]
    labels = [label for label in np.argsort(-np.array(totals, int), kind="stable") if totals[label]]
    return labels[:MAX_CLASSES]


def _class_table(
    splits: Sequence[Split], statistics: Sequence[Sequence[ClassStatistics]], order: Sequence[int]
) -> list[str]:
    rows = [*order, -1]  # the last row is that of all classes
    names = [shortened_name(statistics[0][label].name) for label in rows]
    width = max(map(len, names))
    has_difficult = any(rows[-1].difficult for rows in statistics)
    heads = "  objects images" + (" difficult" if has_difficult else "") + "     side in px   w:h"
    blocks = [[_cells(of_split[label], has_difficult) for label in rows] for of_split in statistics]
    titles = "".join(f"  {shortened_name(split.name):{len(heads) - 2}}" for split in splits)
    return [
        f"{INDENT}{'':{width}}{titles}".rstrip(),
        f"{INDENT}{'':{width}}{heads * len(splits)}",
        *(
            f"{INDENT}{name:{width}}{''.join(cells)}"
            for name, *cells in zip(names, *blocks, strict=True)
        ),
        f"{INDENT}(side: root of the area, 10 %, median and 90 %; w:h: median of width / height)",
    ]


def _cells(row: ClassStatistics, has_difficult: bool) -> str:
    counts = f"{row.objects:>9}{row.images:>7}"
    counts += f"{row.difficult:>10}" if has_difficult else ""
    if not row.objects:
        return f"{counts}{'-':>15}{'-':>6}"
    sides = "".join(f"{side:>5.0f}" for side in row.sides)
    return f"{counts}{sides}{row.aspects[1]:>6.2f}"


def _hidden_classes(statistics: Sequence[Sequence[ClassStatistics]], num_shown: int) -> list[str]:
    """Returns a line for the rarer classes and one for those without objects."""
    totals = [sum(row.objects for row in rows) for rows in zip(*statistics, strict=True)][:-1]
    used = sum(total > 0 for total in totals)
    empty = [row.name for row, total in zip(statistics[0], totals, strict=False) if not total]
    lines = [f"{INDENT}... and {used - num_shown} rarer classes"] if used > num_shown else []
    if empty:
        names = short_list(list(map(shortened_name, empty)))
        count = f"{len(empty)} class{'es' if len(empty) > 1 else ''}"
        lines.append(f"{INDENT}{count} without objects: {names}")
    return lines


def _size_lines(split: Split) -> list[str]:
    sides, aspects = sides_and_aspects(pixel_boxes(split.data))
    return [
        f"{split.name}: sides in pixels: {_shares(SIDE_NAMES, histogram(sides, SIDE_EDGES))}",
        f"{INDENT}width to height: {_shares(ASPECT_NAMES, histogram(aspects, ASPECT_EDGES))}",
        f"{INDENT}{small_objects_text(split)}",
    ]


def _shares(names: Sequence[str], counts: Sequence[int]) -> str:
    total = max(sum(counts), 1)
    pairs = zip(names, counts, strict=True)
    return ", ".join(f"{name}: {count} ({count / total:.0%})" for name, count in pairs if count)


def shortened_name(name: str) -> str:
    """Returns the beginning of a name that is too long for a table."""
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 3]}..."
