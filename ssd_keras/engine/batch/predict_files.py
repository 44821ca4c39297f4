"""Detects objects in millions of images with Ray Data; writes numbered files of rows."""

import functools
import os
from collections.abc import Sequence
from typing import Any

from tqdm.auto import tqdm

from ssd_keras.core.data_formats import ROW_FORMATS
from ssd_keras.core.files import check_writable
from ssd_keras.core.images import MAX_PIXELS
from ssd_keras.core.progress import bar_options
from ssd_keras.core.terminal import shows_progress
from ssd_keras.core.text import unknown_name
from ssd_keras.data.problems import problem_lines
from ssd_keras.engine.batch.model_digest import model_digest
from ssd_keras.engine.batch.output import BatchOutput, Totals, open_output
from ssd_keras.engine.batch.part_detector import PartDetector
from ssd_keras.engine.batch.ray_workers import LOCAL, Work, ray_workers
from ssd_keras.engine.batch.sources import find_locations, shown
from ssd_keras.engine.tiles import checked_tiles


def predict_files(
    model: str,
    sources: Sequence[str],
    output: str,
    *,
    format: str = "parquet",
    score_threshold: float = 0.0,
    batch_size: int = 8,
    max_pixels: int = MAX_PIXELS,
    tiles: int | Sequence[int] | None = None,
    tile_overlap: float = 0.2,
    ray: str = LOCAL,
    num_workers: int | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> Totals:
    """Detects objects in any number of images, by many processes of Ray Data.

    The output holds numbered parts with a row for each image: `image`, its path or address;
    `image_id`, what a TFRecord calls it; `image_is_valid`; `problem`, what is wrong with it;
    `height` and `width` in pixels; and lists with an element for each detection, by falling score:
    `boxes_xyxy`, xmin, ymin, xmax, ymax in pixels of the upright image; `scores`, 0..1; `labels`,
    from 0; `class_names`. An image that cannot be read has a row without detections.

    Args:
        model: what `load_detector` takes; each worker loads it under this name.
        sources: files, folders and patterns; lists, FILE.txt or @FILE, with the path of an image
            in each line; tfrecord:PATTERN; files and folders of an object storage (s3://, gs://,
            hdfs://, file://), searched to any depth. Workers read them under the same names.
        output: folder to write.
        format: "parquet" or "jsonl", a JSON object in each line. Default "parquet".
        score_threshold: smallest score, 0..1. Default 0: all that the model gives.
        batch_size: images, or tiles of an image, of one forward pass. Default 8.
        max_pixels: images of more pixels are not read.
        tiles: side of a tile in pixels, or (height, width), as of `ssd_keras.detect`. Default None.
        tile_overlap: smallest share of a tile that its neighbours show too. Default 0.2.
        ray: address of a Ray cluster, HOST:PORT or "auto". Default "local": this machine alone.
            Where Ray was initialized before, its cluster is used.
        num_workers: processes. Default None: one for each GPU, or where there is none for each
            core that has 2 GB of memory.
        resume: go on with an output that was begun with the same images, model and options, or
            begin it. Default False: the output must be new.
        progress: whether to show a progress bar. Default None: in terminals and notebooks.

    Returns:
        `Totals` of all parts: num_images, num_invalid, num_detections, problems.

    Raises:
        ImportError: Ray is not installed.
        FileNotFoundError: the model or a source does not exist.
        ValueError: no image can be read, the output holds something else, or workers fail.

    Example:
        >>> totals = predict_files("runs/mine", ["s3://bucket/photos"], "found")  # doctest: +SKIP
        >>> pandas.read_parquet("found").query("image_is_valid")  # doctest: +SKIP
    """
    if format not in ROW_FORMATS:
        raise ValueError(unknown_name("format", format, ROW_FORMATS))
    check_writable(output, is_folder=True)
    options: dict[str, Any] = {
        "format": format,
        "score_threshold": score_threshold,
        "batch_size": batch_size,
        "max_pixels": max_pixels,
        "tiles": None,
        "tile_overlap": None,
    }
    if tiles is not None:
        size, options["tile_overlap"] = checked_tiles(tiles, tile_overlap)
        options["tiles"] = list(size)  # as JSON gives it back
    model = os.fspath(model)
    model = os.path.abspath(model) if os.path.exists(model) else model  # or a name, or an address
    digest = model_digest(model)
    settings = {"model": model, "model_sha256": digest, **options}
    work = functools.partial(_part_detector, model, digest, options)
    with open_output(output, settings, find_locations(sources), resume) as opened:
        if opened.todo:
            _fill(opened, work, ray, num_workers, shows_progress(progress))
        totals = opened.totals
    if totals.num_invalid == totals.num_images:
        lines = " ".join(problem_lines(totals.problems))
        raise ValueError(f"none of {totals.num_images} images could be read; {lines}")
    return totals


def _part_detector(model: str, sha256: str, options: dict, num_threads: int) -> Work:
    return PartDetector(model, sha256, num_threads=num_threads, **options)


def _fill(
    output: BatchOutput, make_work: functools.partial, ray: str, count: int | None, progress: bool
) -> None:
    """Writes the missing parts as the workers finish them."""
    num_images = sum(map(len, output.parts))

    def name(number: int) -> str:
        images = output.parts[number]
        return f"one of the images {shown(images[0])} to {shown(images[-1])}"

    num_done = num_images - sum(map(len, output.todo.values()))
    with (
        ray_workers(make_work, name, ray, count) as run,
        tqdm(
            total=num_images,
            initial=num_done,
            desc="predicting",
            unit="image",
            **bar_options(progress),
        ) as bar,
    ):
        for number, part in run(output.todo):
            output.write(number, part)
            bar.update(part.num_images)
