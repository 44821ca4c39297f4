"""`tf.data` pipelines: from annotations and encoded images to batches for `fit` and `predict`.

Every random choice is a function of the seed and of the position in the stream of images, so
that a run can be continued at any step with the same data.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from ssd_keras.assigners.max_iou import TargetEncoder
from ssd_keras.data.augmentation.geometry import Augmentation, augment
from ssd_keras.data.images import decode_image, resize_image
from ssd_keras.data.records import DetectionData, FileSlice, ImageSource


def make_lookup(data: DetectionData) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A graph function from an image's index to its dataset element.

    Annotations live in flat constants; images are read from their files when they are asked
    for.
    """
    examples = data.examples
    counts = [len(example.labels) for example in examples]
    splits = tf.constant(np.concatenate([[0], np.cumsum(counts)]), tf.int64)
    read = _make_reader([example.image for example in examples])
    per_image = {
        "orientation": tf.constant([x.orientation for x in examples], tf.int32),
        "size": tf.constant([(x.height, x.width) for x in examples], tf.int32),
        "image_id": tf.constant([str(x.image_id) for x in examples]),
    }
    per_object = {
        "boxes": tf.constant(np.concatenate([x.relative_boxes() for x in examples]), tf.float32),
        "labels": tf.constant(np.concatenate([x.labels for x in examples]), tf.int32),
        "is_difficult": tf.constant(np.concatenate([x.is_difficult for x in examples]), tf.bool),
        "is_crowd": tf.constant(np.concatenate([x.is_crowd for x in examples]), tf.bool),
    }

    def lookup(index):
        start, end = splits[index], splits[index + 1]
        element = {name: values[start:end] for name, values in per_object.items()}
        element.update({name: values[index] for name, values in per_image.items()})
        return {"image": read(index), **element}

    return lookup


def _make_reader(images: Sequence[ImageSource]) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph function from an image's index to its encoded bytes."""
    kinds = [(str, bytes, FileSlice).index(type(image)) for image in images]
    kind = tf.constant(kinds, tf.int32)
    paths = tf.constant([_path(image) for image in images])
    encoded = tf.constant([x if isinstance(x, bytes) else b"" for x in images])
    slices = [x if isinstance(x, FileSlice) else FileSlice("", 0, 0) for x in images]
    file_size = {path: os.path.getsize(path) for path in {x.path for x in slices} if path}
    rest = [file_size.get(x.path, 0) - x.offset - x.length for x in slices]
    numbers = [(x.offset, x.length, y) for x, y in zip(slices, rest, strict=True)]
    places = tf.constant(np.array(numbers, np.int64))

    def read(index):
        branches = {
            0: lambda: tf.io.read_file(paths[index]),
            1: lambda: encoded[index],
            2: lambda: _read_slice(paths[index], places[index]),
        }
        used = sorted(set(kinds))
        if len(used) == 1:
            return branches[used[0]]()
        return tf.switch_case(kind[index], branches)

    return read


def _path(image: ImageSource) -> str:
    if isinstance(image, FileSlice):
        return image.path
    return image if isinstance(image, str) else ""


def _read_slice(path: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Part of a file. TensorFlow has no operator for that, only this data set of one record.

    `place` holds the bytes before the part, of the part and after it, int64 [3].
    """
    records = tf.data.FixedLengthRecordDataset(
        path, place[1], header_bytes=place[0], footer_bytes=place[2]
    )
    return records.get_single_element()


def element_dataset(data: DetectionData) -> tf.data.Dataset:
    """The images in their order as dataset elements; see `make_lookup`."""
    return tf.data.Dataset.range(len(data)).map(make_lookup(data))


def training_dataset(
    data: DetectionData,
    encoder: TargetEncoder,
    image_size: tuple[int, int],
    batch_size: int,
    *,
    augmentation: Augmentation | None = None,
    use_difficult: bool = True,
    seed: int = 0,
    start_step: int = 0,
    part: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """An endless stream of augmented batches with their targets.

    Each epoch is a new permutation. The stream that starts at step k equals the stream from
    step 0 after k batches. The parts of a batch, one after the other, are the batch, but for the
    last digit of a box delta.

    Args:
        data: the data set.
        encoder: makes the targets, `model.target_encoder()`.
        image_size: height and width of the model's input.
        batch_size: images of a batch.
        augmentation: `Augmentation`. Default: the paper's.
        use_difficult: learn from objects flagged as difficult, as the paper does on VOC.
            Crowds are never learned from. Default True.
        seed: number that decides every random choice. Default 0.
        start_step: batches to skip. Default 0.
        part: which part of each batch to read, for processes that share the batches: its index
            and the number of equal parts. Default (0, 1): all of it.

    Returns:
        dataset of (images uint8 [B, H, W, 3], targets of `TargetEncoder` with a batch axis), B
        images of a part.

    Raises:
        ValueError: when a batch has no such part, or no equal parts.
    """
    index, parts = part
    share = batch_size // max(1, parts)
    if not 0 <= index < parts or batch_size % parts:
        raise ValueError(
            f"part={part} of batch_size={batch_size}: expected an index below the number of "
            "parts, and a batch size that they divide; choose others."
        )
    examples = training_examples(
        data,
        image_size,
        augmentation=augmentation,
        use_difficult=use_difficult,
        seed=seed,
        start=start_step * batch_size // parts,
        place=lambda count: count // share * batch_size + index * share + count % share,
    )

    def encode(batch):
        return batch["image"], encoder(batch["boxes"], batch["labels"])

    # Matching is many small operators: for a whole batch they are called once.
    batches = examples.padded_batch(
        share,
        padding_values={"image": np.uint8(0), "boxes": 0.0, "labels": -1},
        drop_remainder=True,
    )
    return _map_in_parallel(batches, encode).prefetch(2)


def _map_in_parallel(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """Works on several elements at once, each with one thread, and keeps their order."""
    options = tf.data.Options()
    # Threads that share one element's operators wait for each other: a seventh of the speed.
    options.threading.max_intra_op_parallelism = 1
    mapped = dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return mapped.with_options(options)


def shuffled_index(position: tf.Tensor | int, num_images: int, seed: int = 0) -> tf.Tensor:
    """Which image comes at a position of the endless stream; each epoch is a new permutation."""
    position = tf.cast(position, tf.int64)
    return tf.random.experimental.index_shuffle(
        position % num_images, seed=[seed, position // num_images], max_index=num_images - 1
    )


def training_examples(
    data: DetectionData,
    image_size: tuple[int, int],
    *,
    augmentation: Augmentation | None = None,
    use_difficult: bool = True,
    seed: int = 0,
    start: int = 0,
    place: Callable[[tf.Tensor], tf.Tensor] = lambda count: count,
) -> tf.data.Dataset:
    """An endless stream of single augmented images, before encoding."""
    lookup = make_lookup(data)
    options = augmentation or Augmentation()
    num_images = len(data)

    def load(count):
        position = place(count)
        element = lookup(shuffled_index(position, num_images, seed))
        usable = ~element["is_crowd"]
        if not use_difficult:
            usable &= ~element["is_difficult"]
        image, boxes, labels = augment(
            element["image"],
            element["orientation"],
            element["size"],
            tf.boolean_mask(element["boxes"], usable),
            tf.boolean_mask(element["labels"], usable),
            image_size,
            # An image's draws must not repeat those that shuffle: another second word.
            tf.stack([tf.constant(seed, tf.int64), -1 - position]),
            options,
        )
        return {"image": image, "boxes": boxes, "labels": labels}

    counts = tf.data.Dataset.range(start, np.iinfo(np.int64).max)
    return _map_in_parallel(counts, load)


def inference_dataset(
    data: DetectionData, image_size: tuple[int, int] | None, batch_size: int
) -> tf.data.Dataset:
    """Every image once, in order, resized to the model's input.

    Args:
        data: the data set.
        image_size: height and width of the model's input; None leaves the images as they are,
            one to a batch.
        batch_size: images of a batch; the last may be smaller.

    Returns:
        dataset of float32 [B, H, W, 3] in 0..255, uint8 where nothing is resized.
    """
    lookup = make_lookup(data)

    def load(index):
        element = lookup(index)
        image = decode_image(element["image"], element["orientation"])
        return image if image_size is None else resize_image(image, image_size)

    return (
        _map_in_parallel(tf.data.Dataset.range(len(data)), load)
        .batch(1 if image_size is None else batch_size)
        .prefetch(2)
    )


@contextlib.contextmanager
def locate_broken_image(data: DetectionData) -> Iterator[None]:
    """Around work on a data set: an error of a decoder becomes one that names the image.

    A look at a file's two ends, as readers take, does not find damage between them.
    """
    try:
        yield
    except tf.errors.OpError as error:
        for example in data.examples:
            try:
                decode_image(tf.constant(example.read()), example.orientation)
            except (tf.errors.OpError, OSError) as reason:
                verb = "read" if isinstance(reason, OSError) else "decoded"
                words = getattr(reason, "strerror", None) or " ".join(str(reason).split())[:120]
                raise ValueError(
                    f"{example.location}: the image cannot be {verb} ({words}); replace the file, "
                    "or take it out of the data."
                ) from error
        raise
