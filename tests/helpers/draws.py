"""Helpers of the augmentation's tests: many draws, their comparison, an image."""

import numpy as np
import tensorflow as tf

ALPHA = 1e-3


def draw_many(function, count: int, seed: int = 11) -> np.ndarray:
    """Returns the results of `function` for `count` seeds."""

    @tf.function(autograph=False)
    def draw(numbers):
        return tf.map_fn(
            lambda number: function(tf.stack([tf.constant(seed, tf.int64), number])),
            numbers,
            fn_output_signature=tf.float32,
        )

    return draw(tf.range(count, dtype=tf.int64)).numpy()


def ks_ratio(first, second) -> float:
    """Returns the Kolmogorov-Smirnov statistic of two samples, divided by its limit at ALPHA.

    Samples of one distribution exceed 1 with a probability of ALPHA, or less where values repeat.
    """
    first, second = np.sort(first), np.sort(second)
    values = np.concatenate([first, second])
    below_first = np.searchsorted(first, values, side="right") / len(first)
    below_second = np.searchsorted(second, values, side="right") / len(second)
    limit = np.sqrt(-np.log(ALPHA / 2) / 2 * (1 / len(first) + 1 / len(second)))
    return float(np.abs(below_first - below_second).max() / limit)


def smooth_image() -> np.ndarray:
    """Returns a colourful image of 160 x 220 with detail of all sizes."""
    y, x = np.mgrid[:160, :220] / 220
    waves = [
        np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in ((2, 5, 0), (9, 3, 1), (1, 1, 2))
    ]
    noise = np.random.default_rng(7).normal(0, 12, [160, 220, 3])
    image = np.array([128, 110, 90]) + 50 * np.stack(waves, axis=-1) + noise
    return image.clip(0, 255).astype(np.uint8)
