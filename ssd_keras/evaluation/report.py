"""The report of an evaluation: one HTML file with all images inside, and its numbers as JSON."""

import base64
import functools
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ssd_keras.core.files import check_writable, replacing
from ssd_keras.core.progress import bar_options
from ssd_keras.core.text import short_list
from ssd_keras.data.image_sources import original_of
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.evaluation.detection_table import Detections
from ssd_keras.evaluation.errors import ERROR_TYPES
from ssd_keras.evaluation.matches import Matches, match
from ssd_keras.evaluation.mistakes import draw_mistake, largest_missed, most_confident_false
from ssd_keras.evaluation.operating_point import COUNTS, operating_point_line
from ssd_keras.evaluation.outcome import draw_outcome, num_mistakes, outcome_caption
from ssd_keras.evaluation.plots import precision_recall_plot, reliability_plot, slices_plot
from ssd_keras.evaluation.precision_recall_curves import class_curves
from ssd_keras.evaluation.slices import mean_over_classes
from ssd_keras.evaluation.summary import CONFIDENT, summarize

MAX_CLASSES = 24
"""Diagrams, and columns of the confusion matrix: more would be too many for a page."""

MIN_OBJECTS = 10
"""A class of fewer objects has no five slices worth a diagram."""

SECTIONS = (
    *("What errors cost", "Classes", "Operating point", "Confusion", "Calibration"),
    "Sizes and shapes",
)
IMAGES = "Images with the most mistakes"
FALSE, MISSED = "Most confident false detections", "Largest missed objects"
MAX_IMAGES, SIDE = 12, 400  # pixels

MEANINGS = {
    "localisation": "the right class, but a box with an IoU of 0.1 to 0.5",
    "confusion": "a good box (IoU of 0.5 or more) on an object of another class",
    "both": "a poor box on an object of another class",
    "duplicate": "a second box on an object that was found already",
    "background": "no object below (IoU under 0.1)",
    "missed": "no box near the object, neither good nor correctable",
    "false positives": "all false detections together",
    "false negatives": "all objects not found together",
}


@dataclass(frozen=True)
class Figure:
    """An image of the page with its caption."""

    caption: str
    image: bytes
    alternative: str
    format: str = "png"

    @property
    def base64(self) -> str:
        return base64.b64encode(self.image).decode("ascii")


def write_report(
    folder: str,
    data: DetectionData,
    detections: Detections,
    *,
    title: str = "Evaluation",
    read: Callable[[Example], np.ndarray] | None = None,
    point: dict[str, Any] | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Writes `report.html`, which needs no other file, and `report.json`; returns its numbers.

    `read` gives the pixels of an image; without it the page shows no mistakes. `point` is the
    `operating_point` of confusion, counts and missed objects, default a score of 0.5.
    """
    check_writable(folder, is_folder=True)
    matches = match(data, detections)
    numbers = summarize(matches, point)
    steps: list[Callable[[Matches, dict[str, Any]], dict[str, Any]]]
    steps = [_overview, _classes, _operating_point, _confusion, _calibration, _slices]
    if read is not None:
        steps.append(functools.partial(_mistakes, read=read))
    content = {
        "title": title,
        "sections": SECTIONS if read is None else (*SECTIONS, IMAGES, FALSE, MISSED),
    }
    for step in tqdm(steps, desc="drawing the report", leave=False, **bar_options(progress)):
        content |= step(matches, numbers)
    for name, text in (
        ("report.html", _page(content)),
        ("report.json", json.dumps(numbers, indent=1, allow_nan=False)),
    ):
        # Names of files may hold bytes that are no text.
        encoded = text.encode("utf-8", errors="replace")
        with replacing(os.path.join(folder, name)) as beside, open(beside, "wb") as file:
            file.write(encoded)
    return numbers


def _page(content: dict[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["decimals"] = _decimals
    template = resources.files("ssd_keras.evaluation").joinpath("report.html")
    return environment.from_string(template.read_text(encoding="utf-8")).render(content)


def _decimals(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _overview(matches: Matches, numbers: dict[str, Any]) -> dict[str, Any]:
    found = numbers["operating_point"]["all"]
    aps = [curve["AP"] for curve in numbers["classes"].values() if curve["AP"] is not None]
    facts = (
        ("AP50 (voc12)", _decimals(float(np.mean(aps)) if aps else None, 3)),
        ("images", numbers["num_images"]),
        ("objects", matches.num_objects.sum()),
        ("precision", _decimals(found["precision"], 3)),
        ("recall", _decimals(found["recall"], 3)),
        ("F1", _decimals(found["F1"], 3)),
    )
    errors, parts = numbers["errors"], (*ERROR_TYPES, "missed")
    costs = {name: errors[name]["AP"] or 0.0 for name in parts}
    largest = max(costs.values())
    rows = [
        (name, MEANINGS[name], errors[name], max(cost / largest, 0.0) if largest > 0 else 0.0)
        for name, cost in sorted(costs.items(), key=lambda item: -item[1])
    ]
    rows += [(n, MEANINGS[n], errors[n], 0.0) for n in ("false positives", "false negatives")]
    num_ignored = int(matches.objects.is_ignored.sum())
    return {"facts": facts, "num_ignored": num_ignored, "errors": rows}


def _classes(matches: Matches, numbers: dict[str, Any]) -> dict[str, Any]:
    classes = [item for item in numbers["classes"].items() if item[1]["num_objects"]]
    curves = dict(zip(numbers["classes"], class_curves(matches), strict=True))
    annotated = {name: curve for name, curve in curves.items() if curve.num_objects}
    found = [pair for pair in annotated.items() if len(pair[1].scores)]
    drawn = sorted(found, key=lambda pair: -pair[1].num_objects)[:MAX_CLASSES]
    figures = [
        Figure(
            f"{name}: AP {curve.average_precision:.3f}, {curve.num_objects} objects",
            precision_recall_plot(curve),
            f"precision-recall curve of {name}",
        )
        for name, curve in drawn
    ]
    return {
        "classes": sorted(classes, key=lambda item: item[1]["AP"]),
        "class_figures": figures,
        "num_curves": len(found),
        "undetected": short_list([n for n, x in annotated.items() if not len(x.scores)]),
    }


def _operating_point(matches: Matches, numbers: dict[str, Any]) -> dict[str, Any]:
    point = numbers["operating_point"]
    rows = {name: row for name, row in point["classes"].items() if any(_counts(row))}
    return {
        "point": {**point, "rows": {**rows, "all": point["all"]}, "counts": COUNTS},
        "point_line": operating_point_line(point),
    }


def _counts(row: dict[str, Any]) -> list[int]:
    return [row[key] for key in COUNTS]


def _confusion(matches: Matches, numbers: dict[str, Any]) -> dict[str, Any]:
    names = matches.data.class_names
    counts = np.array(numbers["operating_point"]["confusion"]["counts"])
    # Background and missed stay; of the classes, those with the most mistakes.
    num_wrong = (counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts))[:-1]
    shown = np.sort(np.argsort(-num_wrong, kind="stable")[:MAX_CLASSES]).tolist()
    indices = [*shown, len(names)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        ([*names, "background"][row], [(counts[row, k], shares[row, k], k == row) for k in indices])
        for row in indices
    ]
    head = ["", *(names[label] for label in shown), "missed"]
    return {"confusion": {"head": head, "rows": rows, "shown": len(shown), "total": len(names)}}


def _calibration(matches: Matches, numbers: dict[str, Any]) -> dict[str, Any]:
    calibration = numbers["calibration"]
    if calibration is None or not calibration["bins"]:
        return {"calibration_figures": []}
    drawing = reliability_plot(calibration["bins"])
    return {
        "calibration_figures": [Figure("", drawing, "share of true detections by score")],
        "calibration_error": calibration["expected_calibration_error"],
        "confident_error": calibration[f"from_{CONFIDENT}"],
        "confident": CONFIDENT,
    }


def _slices(matches: Matches, numbers: dict[str, Any]) -> dict[str, Any]:
    by_size, by_aspect = numbers["by_size"], numbers["by_aspect"]
    if not by_size:
        return {"slice_figures": []}
    mean = slices_plot(mean_over_classes(by_size), mean_over_classes(by_aspect, "aspect"))
    figures = [Figure("mean over classes", mean, "normalised AP by size and shape")]
    num_objects = {name: slices["all"]["num_objects"] for name, slices in by_size.items()}
    large = [name for name, count in num_objects.items() if count >= MIN_OBJECTS]
    for name in sorted(large, key=lambda name: -num_objects[name])[:MAX_CLASSES]:
        drawing = slices_plot(by_size[name], by_aspect[name])
        caption = f"{name}: {num_objects[name]} objects"
        figures.append(Figure(caption, drawing, f"normalised AP of {name} by size and shape"))
    return {"slice_figures": figures, "min_objects": MIN_OBJECTS}


def _mistakes(
    matches: Matches, numbers: dict[str, Any], read: Callable[[Example], np.ndarray]
) -> dict[str, Any]:
    classes = numbers["operating_point"]["classes"]
    thresholds = [row["threshold"] for row in classes.values()]
    mistakes = {
        FALSE: most_confident_false(matches),
        MISSED: largest_missed(matches, thresholds),
    }
    examples = matches.data.examples
    figures = {IMAGES: _images(matches, thresholds, read)}
    for section, group in mistakes.items():
        figures[section] = [
            _figure(
                examples[m.image_index], draw_mistake(read(examples[m.image_index]), m), m.caption
            )
            for m in group
        ]
    return {"mistakes": figures}


def _images(
    matches: Matches, thresholds: Sequence[float], read: Callable[[Example], np.ndarray]
) -> list[Figure]:
    """Returns the images with the most mistakes, their objects beside their detections."""
    counts = np.sum(num_mistakes(matches, thresholds), axis=0)
    worst = [i for i in np.argsort(-counts, kind="stable")[:MAX_IMAGES].tolist() if counts[i]]
    examples = matches.data.examples
    return [
        _figure(
            examples[index],
            draw_outcome(matches, index, read(examples[index]), thresholds, SIDE),
            outcome_caption(matches, index, thresholds),
        )
        for index in worst
    ]


def _figure(example: Example, drawing: np.ndarray, caption: str) -> Figure:
    buffer = io.BytesIO()
    Image.fromarray(drawing).save(buffer, "JPEG", quality=85)
    name = example.image_id
    image = original_of(example.image)
    if isinstance(image, str):
        name = os.path.basename(image)
    return Figure(f"{caption} · {name}", buffer.getvalue(), caption, "jpeg")
