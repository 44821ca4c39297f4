"""Detections of a model in an annotated data set, by many processes of Ray Data."""

import functools
import itertools
import time
from collections.abc import Sequence

import numpy as np
from tqdm.auto import tqdm

from ssd_keras.core.progress import bar_options
from ssd_keras.data.pipeline import inference_dataset, locate_broken_image
from ssd_keras.data.records import DetectionData
from ssd_keras.engine.batch.model_digest import check_model, model_digest
from ssd_keras.engine.batch.ray_workers import LOCAL, Work, ray_workers
from ssd_keras.engine.detector import Detector, load_detector
from ssd_keras.engine.tiles import tiled
from ssd_keras.evaluation.detection_table import DetectionTable
from ssd_keras.models.post_process import PostProcess

NUM_PARTS, MAX_BATCHES = 64, 32  # of the data; of a part

Batches = list[dict[str, np.ndarray]]


def detect_data_with_ray(
    detector: Detector,
    data: DetectionData,
    batch_size: int = 8,
    progress: bool = False,
    ray: str = LOCAL,
    num_workers: int | None = None,
    tiles: int | Sequence[int] | None = None,
    tile_overlap: float = 0.2,
) -> tuple[DetectionTable, float]:
    """Returns what `detect_data` returns; each worker loads the detector's file.

    The batches are those of `detect_data`, and so are the detections.
    """
    model = getattr(detector, "path", "")
    if not model:
        raise ValueError(
            "the model is of no file, which workers could load; pass its path or the name of a "
            "preset instead."
        )
    work = functools.partial(
        _data_detector, model, model_digest(model), getattr(detector, "post_process", None),
        batch_size, tiles, tile_overlap,
    )  # fmt: skip
    num_batches = -(-len(data) // (batch_size * NUM_PARTS))
    size = batch_size * min(MAX_BATCHES, max(1, num_batches))
    parts = {number: data[start : start + size]
             for number, start in enumerate(range(0, len(data), size))}  # fmt: skip

    def name(number: int) -> str:
        return f"one of the images {number * size} to {number * size + len(parts[number]) - 1}"

    found: dict[int, Batches] = {}
    start = time.perf_counter()
    with (
        ray_workers(work, name, ray, num_workers) as run,
        tqdm(total=len(data), desc="detecting", unit="image", **bar_options(progress)) as bar,
    ):
        for number, batches in run(parts):
            found[number] = batches
            bar.update(len(parts[number]))
    seconds = time.perf_counter() - start
    batches = itertools.chain.from_iterable(found[number] for number in sorted(found))
    return DetectionTable.from_batches(data, batches, detector.class_names), seconds


def _data_detector(
    model: str,
    sha256: str,
    post_process: PostProcess | None,
    batch_size: int,
    tiles: int | Sequence[int] | None,
    tile_overlap: float,
    num_threads: int,
) -> Work:
    """Returns a function from a part of the data to the detector's outputs, batch by batch."""
    check_model(model, sha256)
    whole = load_detector(model, post_process, num_threads=num_threads)
    detector = tiled(whole, tiles, tile_overlap, batch_size)

    def detect(data: DetectionData) -> Batches:
        with locate_broken_image(data):
            images = inference_dataset(data, detector.image_size, batch_size)
            return [detector(batch) for batch in images]

    return detect
