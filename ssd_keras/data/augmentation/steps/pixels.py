"""Blur, noise and grey: what cameras do to pixels, boxes unchanged."""

import dataclasses
import math
from typing import TYPE_CHECKING

from ssd_keras.core.parts import add_part
from ssd_keras.data.augmentation.steps.random_step import RandomStep

if TYPE_CHECKING:
    import tensorflow as tf

LUMA = (0.299, 0.587, 0.114)  # shares of red, green and blue: ITU-R BT.601
BLUR_REACH = 3  # standard deviations of the bell curve that are summed


@dataclasses.dataclass(frozen=True)
class Blur(RandomStep):
    """Blurs the image with a bell curve whose standard deviation is drawn.

    Args:
        probability: of a blur, 0..1. Default 0.5.
        max_sigma: largest standard deviation in pixels, above 0. Default 2.0.
    """

    max_sigma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.max_sigma < math.inf:
            raise ValueError(f"max_sigma={self.max_sigma} of Blur must be above 0, in pixels.")

    def change(
        self, image: "tf.Tensor", boxes: "tf.Tensor", seed: "tf.Tensor"
    ) -> tuple["tf.Tensor", "tf.Tensor"]:
        import tensorflow as tf

        sigma = tf.random.stateless_uniform([], seed) * self.max_sigma
        return blur(image, sigma, math.ceil(BLUR_REACH * self.max_sigma)), boxes


def blur(image: "tf.Tensor", sigma: "tf.Tensor", reach: int) -> "tf.Tensor":
    """Averages the pixels up to `reach` rows and columns away by a bell curve."""
    import tensorflow as tf

    distance = tf.range(-reach, reach + 1, dtype=tf.float32)
    weights = tf.exp(-0.5 * tf.square(distance / tf.maximum(sigma, 1e-3)))
    height, width = tf.unstack(tf.shape(image)[:2])
    pixels = image[None]
    for sides, length in (([-1, 1, 1, 1], [1, height, 1, 1]), ([1, -1, 1, 1], [1, 1, width, 1])):
        kernel = tf.reshape(weights, sides)
        # Beyond the border there is nothing: the weights within the image are summed.
        total = tf.nn.conv2d(tf.ones(length), kernel, strides=1, padding="SAME")
        kernel = tf.tile(kernel, [1, 1, 3, 1])
        pixels = tf.nn.depthwise_conv2d(pixels, kernel, [1, 1, 1, 1], "SAME") / total
    return tf.ensure_shape(pixels[0], image.shape)


@dataclasses.dataclass(frozen=True)
class Noise(RandomStep):
    """Adds normally distributed noise to every channel, of a standard deviation that is drawn.

    Args:
        probability: of noise, 0..1. Default 0.5.
        max_stddev: largest standard deviation in grey levels of 0..255, above 0. Default 15.0.
    """

    max_stddev: float = 15.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.max_stddev < math.inf:
            raise ValueError(
                f"max_stddev={self.max_stddev} of Noise must be above 0, in grey levels."
            )

    def change(
        self, image: "tf.Tensor", boxes: "tf.Tensor", seed: "tf.Tensor"
    ) -> tuple["tf.Tensor", "tf.Tensor"]:
        import tensorflow as tf

        level_seed, pixel_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        stddev = tf.random.stateless_uniform([], level_seed) * self.max_stddev
        noise = tf.random.stateless_normal(tf.shape(image), pixel_seed)
        return tf.clip_by_value(image + stddev * noise, 0.0, 255.0), boxes


@dataclasses.dataclass(frozen=True)
class Grey(RandomStep):
    """Takes the colour out of the image: every channel becomes the luma of ITU-R BT.601.

    Args:
        probability: of a grey image, 0..1. Default 0.1.
    """

    probability: float = 0.1

    def change(
        self, image: "tf.Tensor", boxes: "tf.Tensor", seed: "tf.Tensor"
    ) -> tuple["tf.Tensor", "tf.Tensor"]:
        import tensorflow as tf

        from ssd_keras.data.augmentation.colors import mix_channels

        grey = tf.reshape(mix_channels(image, tf.constant([LUMA] * 3)), tf.shape(image))
        return tf.ensure_shape(grey, image.shape), boxes


for _step in (("blur", Blur), ("noise", Noise), ("grey", Grey)):
    add_part("augmentation_step", *_step)
