"""The endless stream of a training: its positions, and which image stands at each."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

# Epochs are offset by multiples of the golden ratio, the most even ones for any number of epochs.
# Whole numbers of 24 bits are exact also where they are added to a slot.
OFFSETS = 2**24
GOLDEN_STEP = 10_368_889  # (sqrt(5) - 1) / 2 of them


def stream_positions(
    start: int = 0, batch_size: int = 1, part: tuple[int, int] = (0, 1)
) -> tf.data.Dataset:
    """Returns positions in the endless stream: from the batch at `start` on, those of a part."""
    return positions_of_steps(tf.data.Dataset.range(start // batch_size, 2**62), batch_size, part)


def positions_of_steps(
    steps: tf.data.Dataset, batch_size: int, part: tuple[int, int] = (0, 1)
) -> tf.data.Dataset:
    """Returns the positions of the images in a part of the batches of some steps."""
    index, num_parts = part
    share = batch_size // num_parts

    def positions(step: tf.Tensor) -> tf.data.Dataset:
        first = step * batch_size + index * share
        return tf.data.Dataset.range(first, first + share)

    return steps.flat_map(positions)


def make_sampler(
    num_images: int, seed: int = 0, repeat_factors: Sequence[float] | np.ndarray | None = None
) -> Callable[[int | tf.Tensor], tf.Tensor]:
    """Returns a graph function from a position to an image's index, int64.

    An epoch of `num_images` positions is a permutation of the images. With repeat factors r it is
    one of a systematic sample: image i comes floor or ceil of num_images * r_i / sum(r) times, and
    in n epochs, for n up to 1000, less than 4 times more or less than n times that share.
    """
    if repeat_factors is None:
        return lambda position: shuffled_index(position, num_images, seed)
    factors = np.asarray(repeat_factors, np.float64)
    if factors.shape != (num_images,) or not np.all((factors > 0) & (factors < np.inf)):
        raise ValueError(
            f"repeat_factors has {factors.size} numbers for {num_images} images; expected one for "
            "each, finite and above 0."
        )
    # The line from 0 to num_images, divided by the factors. The slots of an epoch are its points
    # offset, 1 + offset, 2 + offset, ...:
    #
    #     |  image 0  | 1 |2|       image 3       |
    #        x       x       x       x       x
    ends = np.cumsum(factors)
    ends *= num_images / ends[-1]
    ends[-1] = num_images
    line = tf.constant(ends)
    first_offset = int(np.random.default_rng(seed).integers(OFFSETS))

    def index_at(position: int | tf.Tensor) -> tf.Tensor:
        slot = shuffled_index(position, num_images, seed)
        epoch = tf.cast(position, tf.int64) // num_images
        offset = (first_offset + epoch % OFFSETS * GOLDEN_STEP) % OFFSETS / OFFSETS
        point = tf.cast(slot, tf.float64) + offset
        return tf.searchsorted(line, [point], side="right", out_type=tf.int64)[0]

    return index_at


def shuffled_index(position: tf.Tensor | int, num_images: int, seed: int = 0) -> tf.Tensor:
    """Returns the index of the image at a position; each epoch is a new permutation."""
    position = tf.cast(position, tf.int64)
    return tf.random.experimental.index_shuffle(
        position % num_images, seed=[seed, position // num_images], max_index=num_images - 1
    )
