"""Sizes of objects at usual inputs, without a model."""

from example_records import example, split_of

from ssd_keras.doctor.object_sizes import small_object_findings, small_shares


def split(*sides):
    """Images of 640 x 320 pixels: at 320 x 320 a square of 16 has 8 x 16 pixels, a side of 11.3."""
    boxes = [[0, 0, side, side] for side in sides]
    return split_of(example(boxes=boxes, size=(640, 320), image=b""))


def test_small_objects_are_counted_at_each_input():
    # Sides at an input of s: side * s / sqrt(640 * 320), a factor of .707, 1.131 and 1.414.
    assert small_shares(split(5, 7, 11, 12)) == [0.75, 0.5, 0.25]
    assert small_shares(split()) == [0, 0, 0]


def test_many_small_objects_are_a_finding():
    (finding,) = small_object_findings([split(11, *[50] * 8)])
    assert str(finding) == (
        "train: smaller than 8 pixels of a model's input: 11% at 320x320, 0% at 512x512, 0% at "
        "640x640"
    )
    assert small_object_findings([split(11, *[50] * 9)]) == []
    assert small_object_findings([split()]) == []
