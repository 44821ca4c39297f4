"""Boxes that are a pixel off: found at the image border, and moved."""

from dataclasses import replace

import pytest
from example_records import encoded, example, split_of, textured

from ssd_keras import load_data
from ssd_keras.data.splits import Split, source_of
from ssd_keras.doctor.data_report import check_data
from ssd_keras.doctor.findings import FindingKind
from ssd_keras.doctor.fix import fixed_copy, remaining_issues
from ssd_keras.doctor.shift import border_offsets, shift_findings

SHIFTS = {
    # VOC files that count from 0: the leftmost xmin is 0, which reads as -1; the last column too.
    "voc from 0": (-1, -1, [("left and top edges are -1"), ("right and bottom edges are -1")]),
    "coco with VOC's corners": (1, 0, [("left and top edges are +1 pixel from 0")]),
    "none": (0, 0, []),
}


@pytest.mark.parametrize(("begin", "end", "words"), SHIFTS.values(), ids=SHIFTS)
def test_a_shift_is_found_from_boxes_at_the_border(begin, end, words):
    # At the left edge, at the right edge, and one in the middle; 120 x 90 pixels.
    boxes = [[begin, 30, 40, 20], [60, 30, 60 + end, 20], [begin, begin, 30, 20], [50, 40, 9, 9]]
    boxes += [[60, 50, 60 + end, 40 + end]]
    split = split_of(*[example(boxes=boxes) for _ in range(3)])
    begins, ends = border_offsets(split.data)
    # Three images with a left edge, and one box with both left and top: 3 * 3 begins; 3 * 3 ends.
    assert begins == {begin: 9}
    assert ends == {end: 9}
    found = [str(finding) for finding in shift_findings([split])]
    assert len(found) == len(words)
    for text, expected in zip(found, words, strict=True):
        assert text.startswith("train: 9 of 9 boxes at the ") and expected in text


# Of 120 x 90 pixels, at the left edge, at the right edge and in the middle: as read, and fixed.
FIXED = {
    "voc from 0": (
        -1,
        -1,  # both edges of all boxes go one pixel right and down
        [[-1, 30, 40, 20], [60, 30, 59, 20], [50, 40, 9, 9]],
        [[0, 31, 40, 20], [61, 31, 59, 20], [51, 41, 9, 9]],
    ),
    "coco with VOC's corners": (
        1,
        0,  # left and top edges alone go one pixel left and up
        [[1, 30, 40, 20], [60, 30, 60, 20], [50, 40, 9, 9]],
        [[0, 29, 41, 21], [59, 29, 61, 21], [49, 39, 10, 10]],
    ),
    "none": (0, 0, *[[[0, 30, 40, 20], [60, 30, 60, 20], [50, 40, 9, 9]]] * 2),
}


@pytest.mark.parametrize(("begin", "end", "boxes", "expected"), FIXED.values(), ids=FIXED)
def test_boxes_that_are_a_pixel_off_are_moved(begin, end, boxes, expected):
    one = example(boxes=boxes)
    one.areas[2] = 50.0  # of a mask
    report = check_data([split_of(*[replace(one, image_id=str(n)) for n in range(6)])])
    (split,), changes = fixed_copy(report)
    found = split.data.examples[0]
    assert found.boxes.tolist() == expected
    assert found.areas[2] == 50.0 and found.areas[1] == expected[1][2] * expected[1][3]
    assert ("boxes moved by a pixel: 3" in changes) == bool(begin)
    # After the fix, it is no longer found.
    again = check_data([split])
    assert not [f for f in again.findings if "shifted" in f.title]
    assert sum(f.kind is FindingKind.SHIFTED for f in report.findings) == bool(begin) + bool(end)


def test_boxes_are_not_moved_where_some_are_correct():
    """Five of eight begin at -1, a finding; three at 0 or 1 would be moved away."""
    boxes = [[x, 30, 40, 20] for x in (-1, -1, -1, -1, -1, 0, 1, 1)]
    one = example(boxes=[[x, 10 * n, 40, 5 + n] for n, (x, *_) in enumerate(boxes)])
    report = check_data([split_of(one)])
    (split,), changes = fixed_copy(report)
    assert split.data.examples[0].boxes[:, 0].tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert changes == ["boxes clipped to the image: 5"]
    assert remaining_issues(report, [split]) == [
        "left unchanged, for you to judge: boxes perhaps shifted by one: 1"
    ]


def test_few_boxes_at_the_border_are_not_evidence():
    assert shift_findings([split_of(example(boxes=[[-1, -1, 30, 20]]))]) == []


def test_boxes_that_lie_at_a_pixel_by_chance_are_not_evidence():
    # Objects that the border does not cut: 8 boxes begin at 1, and 4 at each of 2 to 9 pixels, so
    # that a pixel has 4 by chance, and 8 are no pile: fewer than 3 * 4. 16 boxes are one.
    beside = [[x, 30, 40, 20] for x in range(2, 10)] * 4
    for count, num_findings in ((8, 0), (16, 1)):
        boxes = [[1, 40, 30, 20]] * count + beside
        assert len(shift_findings([split_of(example(boxes=boxes))])) == num_findings


def test_generated_objects_are_not_shifted():
    data = load_data("synthetic:shapes@train[:400]")
    assert shift_findings([Split("train", data)]) == []


def test_boxes_at_the_border_that_disagree_are_not_evidence():
    """At the left edge 4 of 10 begin at -1, more than at 0 or 1 but not most."""
    boxes = [[x, 30, 40, 20] for x in (-1, -1, -1, -1, 0, 0, 0, 1, 1, 1)]
    assert shift_findings([split_of(example(boxes=boxes))]) == []
    mostly = [[x, 30, 40, 20] for x in (-1, -1, -1, -1, -1, -1, 0, 0, 1, 1)]
    (finding,) = shift_findings([split_of(example(boxes=mostly))])
    assert finding.kind is FindingKind.PERHAPS_SHIFTED
    assert str(finding).startswith("train: 6 of 10 boxes at the left and top edges are -1 pixel")


def tool_splits(*offsets, sources=None):
    """Splits of boxes at the left edge, a list of their offsets each; and one in the middle."""
    splits = []
    for number, of_split in enumerate(offsets):
        boxes = [[10, 9, 20, 20], *([x, 30, 40 + row, 20] for row, x in enumerate(of_split))]
        source = sources[number] if sources else "voc:/data"
        split = split_of(example(number, encoded(textured(number)), boxes), name=f"part{number}")
        splits.append(split._replace(source=source))
    return splits


# offsets of the boxes of each split, its sources: where the box in the middle comes, messages
TOGETHER = {
    "one has too few": ([[-1] * 20, [-1] * 2], None, [11, 11], ["part0, part1: 22 of 22"]),
    "one has none": ([[-1] * 20, []], None, [11, 11], ["part0, part1: 20 of 20"]),
    "each has too few": ([[-1] * 3, [-1] * 2], None, [11, 11], ["part0, part1: 5 of 5"]),
    "one box disagrees": ([[-1] * 99, [-1] * 5 + [0]], None, [11, 11], ["part0, part1: 104"]),
    "another source": ([[-1] * 20, [-1] * 2], ["a", "b"], [11, 10], ["part0: 20 of 20"]),
    "two tools in one source": (
        [[-1] * 20, [0] * 20, [-1]], None, [11, 10, 10],
        ["part0: 20 of 20 boxes at the left and top edges are -1 pixel from 0; the splits differ "
         "(part0 -1/?, part1 +0/?, part2 ?/?), so each is judged alone"],
    ),
    "one is a mixture": (
        [[-1] * 99, [-1] * 6 + [0] * 4], None, [10, 10], ["part0, part1: 105 of 109"],
    ),
    "no shift": ([[0] * 20, [0] * 2], None, [10, 10], []),
}  # fmt: skip


@pytest.mark.parametrize(("offsets", "sources", "lefts", "words"), TOGETHER.values(), ids=TOGETHER)
def test_splits_of_one_source_are_moved_together_or_not_at_all(offsets, sources, lefts, words):
    splits = tool_splits(*offsets, sources=sources)
    found = [str(finding) for finding in shift_findings(splits)]
    assert [text.startswith(expected) for text, expected in zip(found, words, strict=True)] == [
        True
    ] * len(words)
    fixed, _ = fixed_copy(check_data(splits))
    assert [split.data.examples[0].boxes[0, 0] for split in fixed] == lefts


# specs and whether they are of one source
SOURCES = {
    "voc:data@train voc:data@val": True,
    "voc:data@train voc:./data/@val": True,
    "voc:data/train@all voc:data/test@all": True,
    "voc:data@train yolo:data@val": False,
    "voc:data@train voc:other@val": False,
    "yolo:data@images/train yolo:data@images/val": True,
    "coco:a/train.json@a/train coco:a/val.json@a/val": True,
    "coco:a/train/_annotations.json@a/train coco:a/valid/_annotations.json@a/valid": True,
    "csv:a/train.csv@a/train csv:b/test.csv@b/test": False,
    "tfrecord:a/train.record@a/m.pbtxt tfrecord:a/test.record@a/m.pbtxt": True,
    "tfds:voc/2007@train tfds:voc/2007@test": True,
    "tfds:voc/2007@train tfds:voc/2012@train": False,
    "a/data.toml@train a/data.toml@validation": True,
}


@pytest.mark.parametrize(("specs", "is_one"), SOURCES.items())
def test_splits_of_one_format_and_folder_are_of_one_source(specs, is_one, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("data/train", "data/test", "other"):
        (tmp_path / folder).mkdir(parents=True)
    first, second = map(source_of, specs.split())
    assert (first == second) is is_one
