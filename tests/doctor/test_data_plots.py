"""Diagrams of data: names are texts."""

from functools import partial

import numpy as np
from PIL import Image

from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.data_plots import _plot_classes, _plot_sizes, _write_figure

LONG = "a name that goes on" + " and on" * 30
NAMES = (
    LONG,
    "$5 note of $10",
    r"two $ $\frac{ signs",
    "_x",
    "{}",
    "50 %",
    r"\n^_",
    "Fünfeck",
    "кошка",
)


def split(name):
    count = len(NAMES)
    boxes = np.array([[4.0, 4.0, 9.0 + label, 7.0] for label in range(count)])
    flags = np.zeros(count, bool)
    labels = np.arange(count, dtype=np.int32)
    areas = boxes[:, 2] * boxes[:, 3]
    example = Example("a", b"", 40, 60, boxes, labels, flags, flags, areas)
    return Split(name, DetectionData(NAMES, (example,)))


def test_names_are_texts_and_none_is_missing_in_a_legend(tmp_path):
    splits = [split("_train$ $"), split("{val}")]
    figures = []

    def keep(plot, figure):
        plot(figure, splits=splits)
        figures.append(figure)

    for plot in (_plot_classes, _plot_sizes):
        _write_figure(partial(keep, plot), str(tmp_path / "a.png"), splits)
        with Image.open(tmp_path / "a.png") as image:
            assert min(image.size) > 200
    classes, sizes = figures
    ticks = classes.axes[0].get_yticklabels()
    short = {LONG: "a name that goes on …and on and on and on", "_x": " _x"}
    assert {tick.get_text() for tick in ticks} == {short.get(name, name) for name in NAMES}
    assert not any(tick.get_parse_math() for tick in ticks)
    for figure in (classes, sizes):
        legend = figure.axes[0].get_legend().get_texts()
        assert [text.get_text().strip() for text in legend] == ["_train$ $", "{val}"]
        assert not any(text.get_parse_math() for text in legend)
