"""The report of an evaluation: one HTML file with all images inside, and its numbers as JSON."""

import io
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ssd_keras.core.files import replacing
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.evaluation import page
from ssd_keras.evaluation.detection_table import Detections
from ssd_keras.evaluation.errors import FALSE_KINDS
from ssd_keras.evaluation.matches import Matches, match
from ssd_keras.evaluation.mistakes import (
    Mistake,
    draw_mistake,
    largest_missed,
    most_confident_false,
)
from ssd_keras.evaluation.plots import precision_recall_plot, reliability_plot, slices_plot
from ssd_keras.evaluation.precision_recall_curves import Curve, class_curves
from ssd_keras.evaluation.slices import mean_over_classes
from ssd_keras.evaluation.summary import CONFIDENT, analyse

MOST_CLASSES = 24
"""Diagrams and columns of the confusion matrix for more classes would fill no page."""

FEWEST_OBJECTS = 10
"""A class of fewer objects has no five slices worth a diagram."""

SECTIONS = (
    *("What errors cost", "Classes", "Confusion", "Calibration", "Sizes and shapes"),
    *("Most confident false detections", "Largest missed objects"),
)
COSTS, CLASSES, CONFUSION, CALIBRATION, SHAPES, FALSE, MISSED = SECTIONS
GREEN, RED = (46, 125, 50), (198, 40, 40)

MEANING = {
    "localisation": "the right class, but a box with an IoU of 0.1 to 0.5",
    "confusion": "a good box (IoU of 0.5 or more) on an object of another class",
    "both": "a poor box on an object of another class",
    "duplicate": "a second box on an object that was found already",
    "background": "no object below (IoU under 0.1)",
    "missed": "no box near the object, neither good nor mendable",
    "false positives": "all false detections together",
    "false negatives": "all objects not found together",
}


def check_folder(folder: str) -> None:
    """Makes the folder of a report, before any work is done for it."""
    try:
        os.makedirs(folder, exist_ok=True)
        is_writable = os.access(folder, os.W_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        raise ValueError(
            f"{folder!r} cannot be written to; expected a folder for report.html; name another one."
        )


def write_report(
    folder: str,
    data: DetectionData,
    detections: Detections,
    *,
    title: str = "Evaluation",
    read: Callable[[Example], np.ndarray] | None = None,
    score_threshold: float = 0.5,
    progress: bool = False,
) -> dict[str, Any]:
    """Writes `report.html`, which opens from a file anywhere, and `report.json`."""
    check_folder(folder)
    matches = match(data, detections)
    numbers = analyse(matches, score_threshold)
    parts = []
    with tqdm(total=5, desc="drawing the report", leave=False, disable=not progress) as bar:
        for part in _sections(matches, numbers, title, read):
            parts.append(part)
            bar.update()
    for name, content in (
        ("report.html", page.document(title, parts)),
        ("report.json", json.dumps(numbers, indent=1, allow_nan=False)),
    ):
        # Names of files may hold bytes that are no text.
        encoded = content.encode("utf-8", errors="replace")
        with replacing(os.path.join(folder, name)) as beside, open(beside, "wb") as file:
            file.write(encoded)
    return numbers


def _sections(
    matches: Matches,
    numbers: dict[str, Any],
    title: str,
    read: Callable[[Example], np.ndarray] | None,
) -> Iterator[str]:
    curves = class_curves(matches)
    links = page.contents(SECTIONS if read is not None else SECTIONS[: SECTIONS.index(FALSE)])
    yield _overview(matches, numbers, title) + links + _errors(numbers)
    yield _classes(numbers, curves)
    yield _confusion(numbers) + _calibration(numbers)
    yield _slices(numbers)
    if read is not None:
        yield _mistakes(matches, numbers, read)


def _overview(matches: Matches, numbers: dict[str, Any], title: str) -> str:
    known = [one["AP"] for one in numbers["classes"].values() if one["AP"] is not None]
    mean = f"{np.mean(known):.3f}" if known else "-"
    shown = matches.rows["score"] >= numbers["score_threshold"]
    found = np.sum(matches.is_true & shown)
    counted = int(matches.num_objects.sum())
    threshold = f"{numbers['score_threshold']:g}"
    values = [
        ("AP50 (voc12)", mean),
        ("images", f"{numbers['num_images']}"),
        ("objects", f"{counted}"),
        (f"found, score ≥ {threshold}", f"{found}"),
        (f"false, score ≥ {threshold}", f"{np.sum(matches.is_false & shown)}"),
    ]
    excused = int(matches.is_ignored_object.sum())
    words = (
        "All numbers here follow VOC's rule: a detection looks at the object of its class that it "
        "overlaps most, and is true from an IoU of 0.5 on, once an object. AP is the area under "
        "the precision-recall curve. "
    )
    if excused:
        words += f"{excused} objects marked difficult or crowd count neither as found nor missed."
    return f"<h1>{page.text(title)}</h1>{page.facts(values)}<p>{page.text(words)}</p>"


def _errors(numbers: dict[str, Any]) -> str:
    errors = numbers["errors"]
    largest = max((errors[kind]["AP"] or 0.0 for kind in (*FALSE_KINDS, "missed")), default=0.0)
    by_cost = sorted((*FALSE_KINDS, "missed"), key=lambda kind: -(errors[kind]["AP"] or 0.0))
    rows = []
    for kind in (*by_cost, "false positives", "false negatives"):
        cost = errors[kind]["AP"]
        is_part = kind in by_cost
        rows.append(
            [
                page.row_head(kind, MEANING[kind]),
                page.cell(errors[kind]["count"]),
                page.cell("-" if cost is None else f"{cost:.3f}"),
                page.bar((cost or 0.0) / largest if largest and is_part else 0.0),
            ]
        )
    words = (
        "What AP50 would gain if all errors of one kind were mended and nothing else changed "
        "(TIDE, arXiv 2008.08115); the gains do not add up. Errors of every score are counted."
    )
    return page.heading(COSTS, words) + page.table(("error", "count", "AP50", ""), rows)


def _classes(numbers: dict[str, Any], curves: list[Curve]) -> str:
    classes = {name: one for name, one in numbers["classes"].items() if one["num_objects"]}
    rows = []
    for name, one in sorted(classes.items(), key=lambda item: item[1]["AP"]):
        best = one["best_threshold"]
        values = [f"{best[key]:.2f}" if best else "-" for key in ("score", "precision", "recall")]
        cells = (one["num_objects"], f"{one['AP']:.3f}", *values)
        rows.append([page.row_head(name), *map(page.cell, cells)])
    words = (
        "The weakest class first. Best score: the threshold with the highest F1 (harmonic mean of "
        "precision and recall), beside what it gives; it is the dot on the curve."
    )
    pairs = zip(numbers["classes"], curves, strict=True)
    drawn = sorted(pairs, key=lambda pair: -pair[1].num_objects)[:MOST_CLASSES]
    figures = [
        page.figure(
            f"{name}: AP {curve.average_precision:.3f}, {curve.num_objects} objects",
            precision_recall_plot(curve),
            "png",
            f"precision-recall curve of {name}",
        )
        for name, curve in drawn
        if curve.num_objects
    ]
    head = ("class", "objects", "AP50", "best score", "precision", "recall")
    return (
        page.heading(CLASSES, words, *_left_out(len(figures), len(classes), "most objects"))
        + page.table(head, rows)
        + page.grid(figures)
    )


def _confusion(numbers: dict[str, Any]) -> str:
    names = numbers["confusion"]["columns"][:-1]
    counts = np.array(numbers["confusion"]["counts"])
    # Background and missed stay; of the classes, those that most was wrong with.
    wrong = (counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts))[:-1]
    shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
    totals = np.maximum(counts.sum(axis=1), 1)
    background = len(names)
    rows = []
    for row in [*shown.tolist(), background]:
        cells = [page.row_head(names[row] if row < background else "background")]
        for column in [*shown.tolist(), background]:
            count = counts[row, column]
            color = GREEN if row == column else RED
            cells.append(page.shade(count or "", count / totals[row], color))
        rows.append(cells)
    words = (
        "A row is what was annotated, a column what was detected with a score of "
        f"{numbers['score_threshold']:g} or more, matched by an IoU of 0.5 or more. The row "
        "background has detections without an object of their own: also poor and second boxes."
    )
    head = ("", *(names[column] for column in shown), "missed")
    return page.heading(
        CONFUSION, words, *_left_out(len(shown), len(names), "most mistakes")
    ) + page.table(head, rows, "matrix")


def _calibration(numbers: dict[str, Any]) -> str:
    calibration = numbers["calibration"]
    if calibration is None or not calibration["bins"]:
        return page.heading(CALIBRATION, "There are no scores in 0 to 1, and nothing to show.")
    error, confident = (
        "-" if value is None else f"{value:.3f}"
        for value in (
            calibration["expected_calibration_error"],
            calibration[f"from_{CONFIDENT}"],
        )
    )
    words = (
        "Whether a score can be read as a probability: the share of true detections in ten bins, "
        "their number above, and the mean score as a dot, which would lie on the diagonal. "
        f"Expected calibration error: {error} over all detections, {confident} over those with a "
        f"score of {CONFIDENT} or more."
    )
    image = reliability_plot(calibration["bins"])
    drawing = page.figure("", image, "png", "share of true detections by score")
    return page.heading(CALIBRATION, words) + page.grid([drawing], "22rem")


def _slices(numbers: dict[str, Any]) -> str:
    by_size, by_aspect = numbers["by_size"], numbers["by_aspect"]
    if not by_size:
        return page.heading(SHAPES, "There are no objects, and nothing to show.")
    words = (
        "As Fig. 4 of the SSD paper (after Hoiem et al. 2012): the objects of each class, cut at "
        "the 10th, 30th, 70th and 90th percentile of box area (extra small to extra large) and of "
        "width / height (extra tall to extra wide), with their number below. The AP is normalised: "
        "precision as if each slice had as many objects as a class has on average, so that rare "
        "slices can be compared. The dashed line is all objects."
    )
    mean = slices_plot(mean_over_classes(by_size), mean_over_classes(by_aspect, "aspect"))
    figures = [page.figure("mean over classes", mean, "png", "normalised AP by size and shape")]
    all_objects = {name: slices["all"]["num_objects"] for name, slices in by_size.items()}
    large = [name for name, count in all_objects.items() if count >= FEWEST_OBJECTS]
    drawn = sorted(large, key=lambda name: -all_objects[name])[:MOST_CLASSES]
    figures += [
        page.figure(
            f"{name}: {all_objects[name]} objects",
            slices_plot(by_size[name], by_aspect[name]),
            "png",
            f"normalised AP of {name} by size and shape",
        )
        for name in drawn
    ]
    note = f"Classes of at least {FEWEST_OBJECTS} objects are drawn; report.json has all."
    return page.heading(SHAPES, words, note) + page.grid(figures, "20rem")


def _mistakes(
    matches: Matches, numbers: dict[str, Any], read: Callable[[Example], np.ndarray]
) -> str:
    threshold = numbers["score_threshold"]
    result = ""
    for title, words, mistakes in (
        (
            FALSE,
            "Red: the detection. Blue: the annotated object it is measured against. Some are no "
            "mistakes of the detector but of the annotation.",
            most_confident_false(matches),
        ),
        (
            MISSED,
            f"Blue: objects that no detection with a score of {threshold:g} or more has found. "
            "Red: the box of their class that came nearest.",
            largest_missed(matches, threshold),
        ),
    ):
        figures = [_mistake(matches.data.examples[one.image], one, read) for one in mistakes]
        result += page.heading(title, words if figures else "There are none.")
        result += page.grid(figures, "18rem") if figures else ""
    return result


def _mistake(example: Example, mistake: Mistake, read: Callable[[Example], np.ndarray]) -> str:
    buffer = io.BytesIO()
    drawing = Image.fromarray(draw_mistake(read(example), mistake))
    drawing.save(buffer, "JPEG", quality=85)
    name = example.image_id
    if isinstance(example.image, str):
        name = os.path.basename(example.image)
    return page.figure(f"{mistake.caption} · {name}", buffer.getvalue(), "jpeg", mistake.caption)


def _left_out(shown: int, total: int, which: str) -> list[str]:
    if shown >= total:
        return []
    return [f"Of {total} classes, the {shown} with the {which} are drawn; report.json has all."]
