"""The operating point: numbers, tables by class name, the JSON of exports."""

import re

import numpy as np
import pytest

from ssd_keras.core.display_thresholds import (
    by_label,
    by_name,
    read_thresholds,
    thresholds_line,
    thresholds_text,
)

NAMES = ("tv", "hedge dog", "café")


def test_thresholds_by_label():
    assert by_label(0.3, NAMES) == 0.3
    assert by_label(1, NAMES) == 1.0
    assert by_label({"café": 0.2}, NAMES) == (0.5, 0.5, 0.2)
    assert by_label({"tvmonitor": 0.2, "hedge dog": np.float32(0.25)}, NAMES) == (0.2, 0.25, 0.5)
    assert by_label([0.1, 0.2, 0], NAMES) == (0.1, 0.2, 0.0)


FAULTS = (
    (1.5, r"display_threshold=1\.5: expected a score from 0 to 1 for all classes, or one for each"),
    (float("nan"), "display_threshold=nan: expected a score from 0 to 1"),
    (True, "display_threshold=True: expected a score"),
    ("0.5", "display_threshold='0.5': expected a score"),
    ({"tv": None}, "display_threshold=None: expected a score"),
    ({"hedgedog": 0.1}, "class of display_threshold 'hedgedog' is unknown; did you mean 'hedge do"),
    ((0.5, 0.5), "display_threshold has 2 numbers; expected one for each of 3 classes"),
)


@pytest.mark.parametrize(("value", "message"), FAULTS)
def test_faults_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        by_label(value, NAMES)


@pytest.mark.parametrize("thresholds", [0.125, (0.1, 1.0, 1 / 3)])
def test_text_of_exports_gives_the_same_thresholds(thresholds):
    text = thresholds_text(thresholds, NAMES)
    assert read_thresholds(text, NAMES, "here") == thresholds
    assert by_label(by_name(thresholds, NAMES), NAMES) == thresholds


def test_what_an_export_may_hold():
    assert read_thresholds(None, NAMES, "here") == 0.5
    for text in ("{", "[" * 10_000, '{"tv": 2}', '"\u202e"', b"\xff\xfe\xff", "1e999"):
        with pytest.raises(ValueError, match=r"^here holds no thresholds \(.*\); remove") as caught:
            read_thresholds(text, NAMES, "here")
        assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_one_line_names_them():
    assert thresholds_line(0.5, NAMES) == "display threshold: 0.5"
    line = thresholds_line((0.5, 0.123456, 1.0), NAMES)
    assert re.fullmatch("display thresholds: tv 0.5, hedge dog 0.1235, café 1", line)
