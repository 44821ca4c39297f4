"""Counts, sizes and aspect ratios of objects."""

import numpy as np
from example_records import example

from ssd_keras.data import DetectionData
from ssd_keras.doctor.statistics import (
    class_statistics,
    histogram,
    label_counts,
    sides_and_aspects,
)


def test_classes_are_counted_and_measured():
    first = example("a", boxes=[[0, 0, 20, 5], [0, 0, 10, 40], [1, 1, 30, 30]], labels=[0, 1, 0])
    second = example("b", boxes=[[5, 5, 40, 10]], labels=[0])
    third = example("c")
    data = DetectionData(("dog", "cat", "bird"), (first, second, third))
    dog, cat, bird, total = class_statistics(data)
    assert (dog.name, dog.objects, dog.images, dog.difficult) == ("dog", 3, 2, 0)
    # Sides of the dogs: sqrt(20 * 5) = 10, 30, sqrt(40 * 10) = 20; aspects 4, 1, 4.
    # Percentile 10 of 10, 20, 30 lies a fifth of the way from 10 to 20; 90 of 1, 4, 4 is 4.
    np.testing.assert_allclose(dog.sides, (12, 20, 28))
    np.testing.assert_allclose(dog.aspects, (1 + 0.2 * 3, 4, 4))
    assert (cat.objects, cat.sides[1], cat.aspects[1]) == (1, 20, 0.25)
    assert (bird.objects, bird.images) == (0, 0) and np.isnan(bird.sides).all()
    assert (total.name, total.objects, total.images) == ("all", 4, 2)
    assert label_counts(data).tolist() == [3, 1, 0]


def test_a_histogram_counts_an_edge_in_the_upper_bin():
    assert histogram(np.array([7.9, 8, 31, 32, 999]), (8, 16, 32)) == [1, 1, 1, 2]


def test_sides_and_aspects():
    sides, aspects = sides_and_aspects(np.array([[3.0, 5.0, 20.0, 5.0]]))
    assert (sides.tolist(), aspects.tolist()) == ([10.0], [4.0])
