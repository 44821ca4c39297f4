"""The paper's distortion of colours (section 3.6), as one matrix."""

import tensorflow as tf


def distort_colors(image: tf.Tensor, seed: tf.Tensor, color_space: str = "matrix") -> tf.Tensor:
    """Brightness, contrast, saturation and hue, each with probability 0.5.

    The image is float32 [H, W, 3] in 0..255. Brightness adds up to 32, contrast and saturation
    multiply by 0.5 to 1.5, hue turns by up to 36 degrees, as in the paper's implementation.
    """
    # There, half of the images get the contrast last. About the grey axis contrast commutes with
    # saturation and hue, so one order is enough.
    draws = tf.random.stateless_uniform([8], seed)
    applied = draws[:4] < 0.5
    brightness = tf.where(applied[0], draws[4] * 64.0 - 32.0, 0.0)
    contrast = tf.where(applied[1], 0.5 + draws[5], 1.0)
    saturation = tf.where(applied[2], 0.5 + draws[6], 1.0)
    degrees = tf.where(applied[3], draws[7] * 72.0 - 36.0, 0.0)
    if color_space == "hsv":
        image = tf.clip_by_value((image + brightness) * contrast, 0.0, 255.0) / 255.0
        image = tf.image.adjust_hue(tf.image.adjust_saturation(image, saturation), degrees / 360.0)
        return image * 255.0
    matrix = contrast * _color_matrix(saturation, degrees * (3.14159265 / 180.0))
    # One product of a tall matrix, then brightness: this saves three passes over the pixels.
    pixels = mix_channels(image, matrix) + brightness * tf.reduce_sum(matrix, axis=1)
    return tf.reshape(pixels, tf.shape(image))


def mix_channels(image: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Returns the products of a matrix [3, 3] and the colour of each pixel, [1, H * W, 3]."""
    # The other operators for products are oneDNN's, which compiles and caches code for each number
    # of pixels, under one lock for all threads.
    return tf.raw_ops.BatchMatMulV3(
        x=tf.reshape(image, [1, -1, 3]), y=matrix[None], Tout=tf.float32, adj_y=True
    )


def _color_matrix(saturation: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    """Returns the matrix [3, 3] that scales the distance from the grey axis and turns about it."""
    along = saturation * tf.cos(angle)
    around = saturation * tf.sin(angle) / 3.0**0.5
    turn = tf.constant([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return along * tf.eye(3) + (1.0 - along) / 3.0 + around * turn
