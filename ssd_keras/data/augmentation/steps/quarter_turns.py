"""Quarter turns, for images without an upright direction."""

import dataclasses
from typing import TYPE_CHECKING

from ssd_keras.core.parts import add_part
from ssd_keras.data.augmentation.steps.random_step import RandomStep

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class QuarterTurns(RandomStep):
    """Turns the image by 90, 180 or 270 degrees, with equal chances.

    A quarter turn exchanges height and width: its place is `before`. In `after` it is faster, and
    for square inputs alone.

    Args:
        probability: of a turn, 0..1. Default 0.75: all four positions are equally frequent.
    """

    probability: float = 0.75

    def change(
        self, image: "tf.Tensor", boxes: "tf.Tensor", seed: "tf.Tensor"
    ) -> tuple["tf.Tensor", "tf.Tensor"]:
        import tensorflow as tf

        turned = tf.random.stateless_uniform([], seed, maxval=3, dtype=tf.int32)
        return tf.switch_case(turned, [lambda n=n: turn(image, boxes, n) for n in (1, 2, 3)])


def turn(image: "tf.Tensor", boxes: "tf.Tensor", quarters: int) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Turns an image and its boxes counter-clockwise by 1, 2 or 3 quarters."""
    import tensorflow as tf

    if quarters != 2:
        image = tf.transpose(image, [1, 0, 2])
    image = tf.reverse(image, {1: [0], 2: [0, 1], 3: [1]}[quarters])
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=1)
    edges = {
        1: [1 - xmax, ymin, 1 - xmin, ymax],
        2: [1 - ymax, 1 - xmax, 1 - ymin, 1 - xmin],
        3: [xmin, 1 - ymax, xmax, 1 - ymin],
    }[quarters]
    return image, tf.stack(edges, axis=1)


add_part("augmentation_step", "quarter_turns", QuarterTurns)
