"""Images of an examination: what is there, what fits, and what is wrong."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ssd_keras.core.files import replacing
from ssd_keras.data.images import decode_image
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.data_report import Examination
from ssd_keras.doctor.default_box_grid import DefaultBoxGrid
from ssd_keras.doctor.default_box_report import BoxCheck, unmatched
from ssd_keras.doctor.findings import repeated_boxes
from ssd_keras.doctor.statistics import object_boxes, sides_and_aspects
from ssd_keras.drawing.draw import class_colors, draw_boxes, save_image
from ssd_keras.drawing.sheet import contact_sheet

MOST_IMAGES = 12
MOST_CLASSES = 40
MOST_POINTS = 4000
LEAST_IN_BIN = 5


def write_plots(examination: Examination, boxes: BoxCheck | None, folder: str) -> list[str]:
    """Draws everything there is to see."""
    os.makedirs(folder, exist_ok=True)
    written = []

    def plot(name: str, draw: Callable[[Any], None]) -> None:
        written.append(os.path.join(folder, f"{name}.png"))
        _write_figure(draw, written[-1])

    def sheet(name: str, images: list[np.ndarray], captions: list[str]) -> None:
        if images:
            written.append(os.path.join(folder, f"{name}.png"))
            save_image(contact_sheet(images, captions=captions), written[-1])

    splits = examination.splits
    plot("classes", lambda figure: _draw_classes(figure, splits))
    plot("sizes", lambda figure: _draw_sizes(figure, splits))
    if boxes is not None:
        plot("default_boxes", lambda figure: _draw_default_boxes(figure, boxes))
        plot("recall", lambda figure: _draw_recall(figure, boxes))
        sheet("unmatched", *_unmatched_images(boxes))
    sheet("repeated", *_repeated_images(splits))
    sheet("same_images", *_same_images(examination))
    return written


def _write_figure(draw: Callable[[Any], None], path: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    with replacing(path) as beside:
        figure.savefig(beside, format="png")


def _draw_classes(figure: Any, splits: Sequence[Split]) -> None:
    names = splits[0].data.class_names
    counts = np.array(
        [
            np.bincount(np.concatenate([x.labels for x in s.data.examples]), minlength=len(names))
            for s in splits
        ]
    )
    order = np.argsort(-counts.sum(axis=0), kind="stable")[:MOST_CLASSES]
    figure.set_size_inches(9, max(3, 1.2 + 0.28 * len(order) * len(splits)))
    axes = figure.subplots()
    height = 0.8 / len(splits)
    for number, (split, own) in enumerate(zip(splits, counts, strict=True)):
        places = np.arange(len(order)) + (number - (len(splits) - 1) / 2) * height
        bars = axes.barh(places, own[order], height, label=split.name)
        axes.bar_label(bars, padding=3, fontsize=8)
    axes.set_yticks(np.arange(len(order)), [names[label] for label in order])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_title("objects of each class", loc="left")
    axes.grid(axis="x", alpha=0.3)
    if len(splits) > 1:
        axes.legend()


def _draw_sizes(figure: Any, splits: Sequence[Split]) -> None:
    left, right = figure.subplots(1, 2)
    figure.set_size_inches(10, 4.5)
    measured = [sides_and_aspects(object_boxes(split.data)) for split in splits]
    for axes, index, title in (
        (left, 0, "side (root of the area) in the image's pixels"),
        (right, 1, "width / height"),
    ):
        values = [pair[index] for pair in measured]
        everything = np.concatenate(values)
        if not len(everything):
            continue
        bins = np.geomspace(everything.min() * 0.98, everything.max() * 1.02, 31)
        for split, own in zip(splits, values, strict=True):
            weights = np.full(len(own), 100 / max(len(own), 1))
            axes.hist(own, bins, weights=weights, histtype="step", linewidth=1.5, label=split.name)
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
        axes.set_title(title, loc="left")
        axes.set_ylabel("% of the objects")
        axes.grid(alpha=0.3)
    if len(splits) > 1:
        left.legend()


def _draw_default_boxes(figure: Any, check: BoxCheck) -> None:
    axes = figure.subplots()
    figure.set_size_inches(8, 8.6)
    own, image_size = check.objects[0], np.array(check.layout.image_size, np.float64)
    sides = (own.boxes[:, 2:] - own.boxes[:, :2]) * image_size
    names = check.splits[0].data.class_names
    colors = class_colors(len(names)) / 255
    shown = np.random.default_rng(0).permutation(len(sides))[:MOST_POINTS]
    axes.scatter(sides[shown, 1], sides[shown, 0], s=6, color=colors[own.labels[shown]], alpha=0.35)
    layouts = [(check.layout, "x", "default boxes")]
    if check.fitted != check.layout:
        layouts = [(check.layout, "x", "before"), (check.fitted, "o", "fitted")]
    for layout, marker, name in layouts:
        shapes = _pixel_shapes(layout)
        style = (
            {"facecolors": "none", "edgecolors": "black"} if marker == "o" else {"color": "0.35"}
        )
        axes.scatter(shapes[:, 1], shapes[:, 0], s=45, marker=marker, label=name, **style)
    for label in np.unique(own.labels)[:20]:
        axes.scatter([], [], s=20, color=colors[label], label=names[label])
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    axes.set_xlabel("width in pixels of the model's input")
    axes.set_ylabel("height")
    axes.set_title(f"{check.splits[0].name}: objects and shapes of default boxes", loc="left")
    axes.grid(alpha=0.3, which="both")
    figure.legend(fontsize=8, loc="outside lower center", ncols=7)


def _draw_recall(figure: Any, check: BoxCheck) -> None:
    left, right = figure.subplots(1, 2)
    figure.set_size_inches(11, 4.8)
    series = [("before", check.before, "--")]
    if check.fitted != check.layout:
        series.append(("fitted", check.after, "-"))
    for number, (split, own) in enumerate(zip(check.splits, check.objects, strict=True)):
        sides = own.sides(check.layout.image_size)
        bins = np.digitize(np.log2(sides), np.arange(-2, 12, 0.5))
        shown = [b for b in np.unique(bins) if np.sum(bins == b) >= LEAST_IN_BIN]
        for name, overlaps, line in series:
            found = overlaps[number]
            matched = found.own >= check.threshold
            points = [(np.median(sides[bins == b]), matched[bins == b].mean()) for b in shown]
            style = {"linestyle": line, "color": f"C{number}", "label": f"{split.name}, {name}"}
            left.plot(*np.array(points).reshape(-1, 2).T, marker=".", **style)
            levels = np.linspace(0, 1, 101)
            shares = [np.mean(found.best >= level) for level in levels]
            right.plot(levels, shares, **style)
    left.set_xscale("log")
    _plain_ticks(left.xaxis)
    left.set_xlabel("side in pixels of the model's input")
    left.set_title(f"reachable recall at {check.threshold:g}, by size", loc="left")
    right.axvline(check.threshold, color="0.5", linewidth=0.8)
    right.set_xlabel("overlap")
    right.set_title("share of objects with at least this best overlap", loc="left")
    for axes in (left, right):
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


def _pixel_shapes(layout: DefaultBoxGrid) -> np.ndarray:
    return np.concatenate(layout.shapes()) * np.array(layout.image_size)


def _plain_ticks(axis: Any) -> None:
    """Numbers such as 20 and 500 on a logarithmic axis, instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _unmatched_images(check: BoxCheck) -> tuple[list[np.ndarray], list[str]]:
    """The images with the most objects that no default box matches, those objects drawn."""
    split = check.splits[0]
    rows_of: dict[int, list[int]] = {}
    for index, row, _ in unmatched(check):
        rows_of.setdefault(index, []).append(row)
    chosen = sorted(rows_of.items(), key=lambda item: -len(item[1]))[:MOST_IMAGES]
    images: list[np.ndarray] = []
    captions: list[str] = []
    for index, rows in chosen:
        example = split.data.examples[index]
        images.append(_drawn(example, rows, split.data.class_names))
        captions.append(f"{len(rows)} of {len(example.labels)} unmatched: {example.image_id}")
    return images, captions


def _repeated_images(splits: Sequence[Split]) -> tuple[list[np.ndarray], list[str]]:
    images: list[np.ndarray] = []
    captions: list[str] = []
    for split in splits:
        for example in split.data.examples:
            pairs = repeated_boxes(example)
            if pairs and len(images) < MOST_IMAGES:
                rows = sorted({*pairs, *pairs.values()})
                images.append(_drawn(example, rows, split.data.class_names))
                captions.append(f"{len(pairs)} annotated twice: {example.image_id}")
    return images, captions


def _same_images(examination: Examination) -> tuple[list[np.ndarray], list[str]]:
    """Pairs side by side; the sheet's four columns hold two of them."""
    images: list[np.ndarray] = []
    captions: list[str] = []
    for pair in examination.twins[: MOST_IMAGES // 2]:
        how = "same as next" if pair.is_exact else f"like next, {pair.bits} bits"
        for (s, i), words in ((pair.first, how), (pair.second, "")):
            split = examination.splits[s]
            example = split.data.examples[i]
            images.append(_drawn(example, range(len(example.labels)), split.data.class_names))
            captions.append(f"{split.name} {example.image_id} {words}")
    return images, captions


def _drawn(example: Example, rows: Sequence[int], class_names: Sequence[str]) -> np.ndarray:
    """An image with some of its boxes; grey where it cannot be decoded."""
    try:
        image = decode_image(example.read(), example.orientation).numpy()
    except (tf.errors.OpError, OSError):
        image = np.full((example.height, example.width, 3), 128, np.uint8)
    chosen = list(rows)
    return draw_boxes(
        image, example.relative_boxes()[chosen], example.labels[chosen], class_names=class_names
    )
