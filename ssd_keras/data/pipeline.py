"""`tf.data` pipelines: from annotations and encoded images to batches for `fit` and `predict`.

Every random choice is a function of the seed and of the position in the endless stream of images,
so that a training resumes at any step with the same data.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from ssd_keras.core.text import short_list
from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.augmentation.geometry import augment
from ssd_keras.data.endless import Epoch, mark_epoch
from ssd_keras.data.image_sources import ConvertedImage, FileSlice, ImageSource
from ssd_keras.data.images import decode_image, resize_image
from ssd_keras.data.mixed_images import mixed_examples
from ssd_keras.data.parallel_map import map_in_parallel
from ssd_keras.data.records import DetectionData
from ssd_keras.data.stream import make_sampler, positions_of_steps, stream_positions
from ssd_keras.data.training_checks import check_objects, usable_objects, with_classes_of
from ssd_keras.data.workers.service import STEP, DataWorkers

Encoder = Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]
"""Turns boxes [B, n, 4] and labels [B, n], padded with -1, into targets."""

MOST_BYTES_OF_GRAPH = (
    1_500_000_000  # of 2 GB, protobuf's limit; annotations and names take the rest
)


def make_lookup(data: DetectionData) -> Callable[[int | tf.Tensor], dict[str, tf.Tensor]]:
    """Returns a graph function from an image's index to its dataset element.

    Annotations are flat constants; image files are read when the function runs.
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

    def lookup(index: int | tf.Tensor) -> dict[str, tf.Tensor]:
        start, end = splits[index], splits[index + 1]
        element = {name: values[start:end] for name, values in per_object.items()}
        element.update({name: values[index] for name, values in per_image.items()})
        return {"image": read(index), **element}

    return lookup


def _make_reader(images: Sequence[ImageSource]) -> Callable[[int | tf.Tensor], tf.Tensor]:
    """Returns a graph function from an image's index to its encoded bytes."""
    images = [x.path if isinstance(x, ConvertedImage) else x for x in images]
    source_types = [(str, bytes, FileSlice).index(type(image)) for image in images]
    source_type = tf.constant(source_types, tf.int32)
    paths = tf.constant([_path(image) for image in images])
    encoded = tf.constant([x if isinstance(x, bytes) else b"" for x in images])
    slices = [x if isinstance(x, FileSlice) else FileSlice("", 0, 0) for x in images]
    file_size = {path: os.path.getsize(path) for path in {x.path for x in slices} if path}
    after = [file_size.get(x.path, 0) - x.offset - x.length for x in slices]
    lengths = [(x.offset, x.length, rest) for x, rest in zip(slices, after, strict=True)]
    byte_counts = tf.constant(np.array(lengths, np.int64))

    def read(index: int | tf.Tensor) -> tf.Tensor:
        branches = {
            0: lambda: tf.io.read_file(paths[index]),
            1: lambda: encoded[index],
            2: lambda: _read_slice(paths[index], byte_counts[index]),
        }
        used = sorted(set(source_types))
        if len(used) == 1:
            return branches[used[0]]()
        return tf.switch_case(source_type[index], branches)

    return read


def _path(image: ImageSource) -> str:
    if isinstance(image, FileSlice):
        return image.path
    return image if isinstance(image, str) else ""


def _read_slice(path: tf.Tensor, byte_counts: tf.Tensor) -> tf.Tensor:
    """Reads a slice of a file; `byte_counts` are those before it, of it and after it, int64 [3]."""
    # TensorFlow has no operator for that, only this data set of one record.
    records = tf.data.FixedLengthRecordDataset(
        path, byte_counts[1], header_bytes=byte_counts[0], footer_bytes=byte_counts[2]
    )
    return records.get_single_element()


def training_dataset(
    data: DetectionData,
    encoder: Encoder,
    image_size: tuple[int, int],
    batch_size: int,
    *,
    augmentation: Augmentation | None = None,
    use_difficult: bool = True,
    seed: int = 0,
    start_step: int = 0,
    part: tuple[int, int] = (0, 1),
    max_objects: int | None = None,
    repeat_factors: Sequence[float] | np.ndarray | None = None,
    total_steps: int | None = None,
    workers: DataWorkers | None = None,
) -> tf.data.Dataset:
    """Returns an endless stream of augmented batches with their targets.

    `fit` of an `SSD` takes one pass over the data as an epoch where it gets no `steps_per_epoch`.
    Each epoch is a new permutation of the images, or with `repeat_factors` of a sample of them in
    which each has its share, rounded up or down. The stream that starts at step k equals the
    stream from step 0 after k batches. The parts of a batch, one after the other, equal the batch,
    except for the last digit of a box delta.

    Args:
        data: the data set.
        encoder: makes the targets, such as `model.target_encoder()`. Where it has class names in
            another order than the data, objects get its labels by name, with a warning.
        image_size: height and width of the model's input in pixels.
        batch_size: images per batch, over all parts.
        augmentation: `Augmentation`. Default: the paper's.
        use_difficult: False leaves out objects flagged as difficult, which the paper trains on.
            Crowds are always dropped. Default True.
        seed: seed of every random choice. Default 0.
        start_step: number of batches to skip. Default 0.
        part: index and number of equal parts, for processes that share each batch. Default
            (0, 1): the whole batch.
        max_objects: where the encoder passes the ground truth on to the training step, the number
            of objects to which each image is padded; a warning names images with more. Default
            None: the largest number in the data set; give more where your augmentation steps add
            objects. Inputs are padded to four times that with `mosaic`, twice with `mixup`.
        repeat_factors: how often each image comes relative to the others, above 0; an epoch
            remains as long as the data are. `ssd_keras.repeat_factors` computes those of rare
            classes and of several data sets. Default None: each image once an epoch.
        total_steps: steps of the whole training: `mosaic` and `mixup` end at their share of it,
            `strong_share`. Default None: they do not end.
        workers: `DataWorkers`, processes that read and augment the images. Default None: threads of
            this process.

    Returns:
        dataset of (images uint8 [B, H, W, 3], targets of the encoder with a batch axis), where B
        is the number of images of a part.

    Raises:
        ValueError: when a batch has no such part, or no equal parts; for `max_objects` below 1;
            for repeat factors that are not one above 0 for each image; when the data have no
            object, or objects of classes that the encoder lacks.

    Example:

    >>> from ssd_keras import from_preset, load_data
    >>> data, model = load_data("synthetic:shapes@train[:8]"), from_preset("ssd192_small_shapes")
    >>> dataset = training_dataset(data, model.target_encoder(), model.image_size, batch_size=4)
    >>> images, targets = next(iter(dataset))
    >>> images.shape
    TensorShape([4, 192, 192, 3])
    """
    index, num_parts = part
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}; expected 1 or more.")
    if not 0 <= index < num_parts or batch_size % num_parts:
        raise ValueError(
            f"part={part} of batch_size={batch_size}: expected an index below the number of "
            "parts, and a batch size that they divide; choose others."
        )
    check_objects(data, "training data", use_difficult)
    augmentation = augmentation or Augmentation()
    share = batch_size // num_parts
    data = with_classes_of(data, getattr(encoder, "class_names", ()))

    def batches_of(steps: tf.data.Dataset) -> tf.data.Dataset:
        examples = training_examples(
            data,
            image_size,
            augmentation=augmentation,
            use_difficult=use_difficult,
            seed=seed,
            repeat_factors=repeat_factors,
            positions=positions_of_steps(steps, batch_size, part),
            run_length=share,
            strong_until=batch_size * augmentation.strong_steps(total_steps),
        )
        # Matching is many small operators: for a whole batch they are called once.
        padding = {"image": np.uint8(0), "boxes": 0.0, "labels": -1, "position": np.int64(-1)}
        batches = examples.padded_batch(share, padding_values=padding, drop_remainder=True)

        def with_step(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {STEP: batch.pop("position")[0] // batch_size, **batch}

        return batches.map(with_step).prefetch(2)

    # Each other shape of a batch would be compiled again, so ground truth has one.
    length = None
    if getattr(encoder, "needs_predictions", False):
        length = objects_of_a_batch(data, use_difficult, max_objects) * augmentation.max_images

    def encode(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        boxes, labels = batch["boxes"], batch["labels"]
        if length:
            boxes, labels = pad_objects(boxes, 0.0, length), pad_objects(labels, -1, length)
        return batch["image"], encoder(boxes, labels)

    workers = workers or DataWorkers(0)
    if workers.address:
        check_size_of_graph(data)
    batches = workers.batches(batches_of, start_step)
    # Targets are encoded here: to send them takes longer than to compute them.
    epoch = Epoch(data.origin, max(1, len(data) // batch_size))
    return mark_epoch(map_in_parallel(batches, encode).prefetch(2), epoch)


def check_size_of_graph(data: DetectionData) -> None:
    """Refuses data that cannot be sent to a worker: images in memory are part of the graph."""
    size = sum(len(x.image) for x in data.examples if isinstance(x.image, bytes))
    if size > MOST_BYTES_OF_GRAPH:
        raise ValueError(
            f"{size / 1e9:.1f} GB of images are in memory, and at most "
            f"{MOST_BYTES_OF_GRAPH / 1e9:.1f} GB can be sent to data workers; read the images from "
            "files (`ssd-keras data convert` writes them), or train without data workers."
        )


def pad_objects(values: tf.Tensor, padding: float, length: int) -> tf.Tensor:
    """Cuts or pads values [B, n, ...] of objects to [B, length, ...]."""
    missing = tf.maximum(length - tf.shape(values)[1], 0)
    unchanged = [[0, 0]] * (len(values.shape) - 2)
    padded = tf.pad(values[:, :length], [[0, 0], [0, missing], *unchanged], constant_values=padding)
    return tf.ensure_shape(padded, [values.shape[0], length, *values.shape[2:]])


def objects_of_a_batch(
    data: DetectionData, use_difficult: bool = True, max_objects: int | None = None
) -> int:
    """Returns the number of objects to which images are padded; warns of images with more."""
    counts = [int(np.sum(usable_objects(x, use_difficult))) for x in data.examples]
    if max_objects is None:
        return max(1, *counts)
    if max_objects < 1:
        raise ValueError(f"max_objects={max_objects} must be 1 or more.")
    crowded = [x.location for x, n in zip(data.examples, counts, strict=True) if n > max_objects]
    if crowded:
        dropped = sum(max(0, count - max_objects) for count in counts)
        warnings.warn(
            f"{dropped} objects beyond max_objects={max_objects} are dropped of training, in "
            f"{len(crowded)} images: {short_list(crowded, 5)}; raise max_objects for them.",
            stacklevel=3,
        )
    return max_objects


def training_examples(
    data: DetectionData,
    image_size: tuple[int, int],
    *,
    augmentation: Augmentation | None = None,
    use_difficult: bool = True,
    seed: int = 0,
    repeat_factors: Sequence[float] | np.ndarray | None = None,
    positions: tf.data.Dataset | None = None,
    run_length: int = 1,
    strong_until: int | None = None,
) -> tf.data.Dataset:
    """Returns an endless stream of single augmented images with boxes, labels and position.

    `positions` are those in the stream of all images, by default all from 0 on, in runs of
    `run_length` consecutive ones. Mosaic and mixup end at the position `strong_until`.
    """
    lookup = make_lookup(data)
    augmentation = augmentation or Augmentation()
    positions = stream_positions() if positions is None else positions
    index_at = make_sampler(len(data), seed, repeat_factors)

    def seed_of(position: tf.Tensor) -> tf.Tensor:
        # The draws for an image must not repeat those that shuffle: another second word.
        return tf.stack([tf.constant(seed, tf.int64), -1 - position])

    def source(position: tf.Tensor) -> dict[str, tf.Tensor]:
        element = lookup(index_at(position))
        is_usable = ~element["is_crowd"]
        if not use_difficult:
            is_usable &= ~element["is_difficult"]
        return {
            "data": element["image"],
            "orientation": element["orientation"],
            "size": element["size"],
            "boxes": tf.boolean_mask(element["boxes"], is_usable),
            "labels": tf.boolean_mask(element["labels"], is_usable),
            "seed": seed_of(position),
        }

    def load(position: tf.Tensor) -> dict[str, tf.Tensor]:
        image, boxes, labels = augment(
            **source(position), image_size=image_size, augmentation=augmentation
        )
        return {"image": image, "boxes": boxes, "labels": labels, "position": position}

    if augmentation.mixes_images:
        runs = positions.batch(run_length)
        end = 2**62 if strong_until is None else strong_until
        return mixed_examples(runs, source, seed_of, image_size, augmentation, end)
    return map_in_parallel(positions, load)


def inference_dataset(
    data: DetectionData, image_size: tuple[int, int] | None, batch_size: int
) -> tf.data.Dataset:
    """Returns every image once, in order, resized to the model's input.

    Args:
        data: the data set.
        image_size: height and width of the model's input in pixels; None leaves the images as
            they are, one per batch.
        batch_size: images per batch; the last batch may be smaller.

    Returns:
        dataset of float32 [B, H, W, 3] in 0..255; uint8 where nothing is resized.

    Example:

    >>> from ssd_keras import load_data
    >>> data = load_data("synthetic:shapes@test[:3]")
    >>> [batch.shape[0] for batch in inference_dataset(data, (192, 192), batch_size=2)]
    [2, 1]
    """
    lookup = make_lookup(data)

    def load(index: tf.Tensor) -> tf.Tensor:
        element = lookup(index)
        image = decode_image(element["image"], element["orientation"])
        return image if image_size is None else resize_image(image, image_size)

    return (
        map_in_parallel(tf.data.Dataset.range(len(data)), load)
        .batch(1 if image_size is None else batch_size)
        .prefetch(2)
    )


@contextlib.contextmanager
def locate_broken_image(data: DetectionData) -> Iterator[None]:
    """Context manager: turns a decoding error into one that names the image file."""
    # Readers check the two ends of a file, which does not find damage between them.
    try:
        yield
    except tf.errors.OpError as error:
        for example in data.examples:
            try:
                decode_image(tf.constant(example.read()), example.orientation)
            except (tf.errors.OpError, OSError) as cause:
                verb = "read" if isinstance(cause, OSError) else "decoded"
                reason = getattr(cause, "strerror", None) or " ".join(str(cause).split())[:120]
                raise ValueError(
                    f"{example.location}: the image cannot be {verb} ({reason}); replace the "
                    "file, or remove it from the data."
                ) from error
        raise
