"""The bytes of an encoded image as numbers inside a graph."""

import numpy as np
import tensorflow as tf


class EncodedBytes:
    """The bytes of a string by position; 0 beyond both of its ends."""

    def __init__(self, data: tf.Tensor) -> None:
        self.data = data
        self.size = tf.strings.length(data)
        # One byte more, because an empty string has none to look up.
        self._bytes = tf.io.decode_raw(tf.strings.join([data, b"\0"]), tf.uint8)

    def at(self, positions: tf.Tensor) -> tf.Tensor:
        """Returns the bytes at positions, int32."""
        is_inside = (positions >= 0) & (positions < self.size)
        return tf.cast(tf.gather(self._bytes, tf.where(is_inside, positions, self.size)), tf.int32)

    def some(self, positions: tf.Tensor | int, count: int) -> tf.Tensor:
        """Returns this number of bytes from each position on, int32 [..., count]."""
        return self.at(
            tf.convert_to_tensor(positions)[..., None] + np.arange(count, dtype=np.int32)
        )

    def number(
        self, positions: tf.Tensor | int, num_bytes: int, is_little: tf.Tensor | bool
    ) -> tf.Tensor:
        """Returns whole numbers at positions, in either byte order; the 32nd bit is their sign."""
        weights = 256 ** np.arange(num_bytes, dtype=np.int32)
        values = self.some(positions, num_bytes)
        return tf.reduce_sum(values * tf.where(is_little, weights, weights[::-1]), axis=-1)

    def holds(self, text: bytes, position: tf.Tensor | int) -> tf.Tensor:
        """Whether a text stands at a position."""
        return tf.reduce_all(self.some(position, len(text)) == list(text))
