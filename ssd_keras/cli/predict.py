"""`ssd-keras predict`."""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.cli.arguments import (
    DETECTOR_HELP,
    add_batch_size,
    add_max_pixels,
    add_ray,
    add_tiles,
    fraction,
    positive_int,
)
from ssd_keras.cli.inputs import print_problems
from ssd_keras.core.data_formats import PRE_LABEL_FORMATS, ROW_FORMATS
from ssd_keras.core.display_thresholds import DEFAULT
from ssd_keras.core.terminal import is_terminal, start_tensorflow
from ssd_keras.core.text import counted

if TYPE_CHECKING:
    from ssd_keras.engine.pre_labels import PreLabels

HELP = "detect objects in images, videos or a camera"
DESCRIPTION = (
    "Detects objects. Writes the images with their boxes and detections.json, which lists every "
    "detection, into a folder. With --format parquet or jsonl it draws nothing, and many processes "
    "write a row for each of up to millions of images."
)
EXAMPLES = (
    "ssd-keras predict runs/mine photo.jpg FOLDER --output detected",
    "ssd-keras predict torchvision_ssd300_vgg16_coco street.mp4 --output detected",
    "ssd-keras predict runs/mine aerial.jpg --tiles 320 --output detected",
    "ssd-keras predict runs/mine s3://bucket/photos --format parquet --output detected --resume",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    given = parser.add_argument_group("input")
    given.add_argument("model", metavar="MODEL", help=DETECTOR_HELP)
    given.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, folders of them, or quoted patterns such as 'photos/*.jpg'; or, with "
        "OpenCV installed, videos and numbers of cameras; with --format parquet or jsonl also "
        "lists of paths (FILE.txt or @FILE), tfrecord:FILES and addresses of an object storage",
    )
    add_max_pixels(given)
    given.add_argument(
        "--frames",
        type=positive_int,
        metavar="N",
        help="read only the first frames of a video or camera; default: all",
    )
    add_batch_size(given)
    add_tiles(given)
    _add_output(parser)
    _add_batch(parser)
    parser.set_defaults(run=run)


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    output.add_argument(
        "--display-threshold",
        type=fraction,
        metavar="SCORE",
        help="draw detections of this score or more, 0..1; default: the model's own, by class, "
        "which is 0.5 unless it keeps others",
    )
    output.add_argument(
        "--score-threshold",
        type=fraction,
        metavar="SCORE",
        help="list detections of this score or more in detections.json, 0..1; default: all that "
        "the model gives, most models from 0.01 on",
    )
    output.add_argument(
        "--format",
        choices=(*PRE_LABEL_FORMATS, *ROW_FORMATS),
        help="voc, coco, yolo: also write the images and the detections as annotations for a "
        "labelling tool, into a folder of this name in --output: detections from --score-threshold "
        "on, by default from --display-threshold on. parquet, jsonl: write numbered files with a "
        "row for each image, and no drawings",
    )


def _add_batch(parser: argparse.ArgumentParser) -> None:
    batch = parser.add_argument_group("with --format parquet or jsonl")
    add_ray(batch)
    batch.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="processes; default: one for each GPU, or else for each core that has 2 GB of memory",
    )
    batch.add_argument(
        "--resume",
        action="store_true",
        help="go on with an output that was interrupted, or begin it; what is finished stays",
    )


def run(
    model: str,
    images: Sequence[str],
    output: str,
    score_threshold: float | None,
    display_threshold: float | None,
    format: str | None,
    batch_size: int,
    frames: int | None,
    max_pixels: int,
    tiles: tuple[int, ...] | None,
    tile_overlap: float,
    ray: str | None,
    workers: int | None,
    resume: bool,
) -> None:
    start_tensorflow()
    tiling: dict[str, Any] = {"tiles": tiles, "tile_overlap": tile_overlap}
    batch: dict[str, Any] = {"ray": ray, "workers": workers, "resume": resume}
    if format in ROW_FORMATS:
        for flag, value in (("--frames", frames), ("--display-threshold", display_threshold)):
            if value is not None:
                raise ValueError(f"{flag} has no use with --format {format}; leave it out.")
        batch |= {"format": format, "batch_size": batch_size, "max_pixels": max_pixels, **tiling}
        _predict_rows(model, images, output, score_threshold or 0.0, **batch)
        return
    for name in batch:
        if batch[name]:
            raise ValueError(
                f"--{name} is of batch prediction; add --format {' or '.join(ROW_FORMATS)}, or "
                "leave it out."
            )
    from ssd_keras.engine.video import import_opencv, is_video

    thresholds = {
        "score_threshold": score_threshold or 0.0,
        "display_threshold": display_threshold,
    }
    are_videos = set(map(is_video, images))
    if len(are_videos) > 1:
        raise ValueError("images and videos are mixed; pass them in two calls.")
    if are_videos == {True}:
        if format:
            raise ValueError(f"--format {format} writes annotations of images, not of videos.")
        import_opencv()  # a missing OpenCV stops before the model loads, which takes longer
        _predict_videos(model, images, output, thresholds, tiling, batch_size, frames)
        return
    pre_labels = None
    if format:
        from ssd_keras.engine.pre_labels import PreLabels

        smallest = display_threshold if score_threshold is None else score_threshold
        pre_labels = PreLabels(format, os.path.join(output, format), smallest, max_pixels)
    _predict_images(model, images, output, thresholds, tiling, batch_size, max_pixels, pre_labels)


def _predict_videos(
    model: str,
    videos: Sequence[str],
    output: str,
    thresholds: dict[str, Any],
    tiling: dict[str, Any],
    batch_size: int,
    frames: int | None,
) -> None:
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.tiles import tiled
    from ssd_keras.engine.video import predict_videos

    detections, reports, lines = predict_videos(
        tiled(load_detector(model), **tiling, batch_size=batch_size),
        videos,
        output,
        **thresholds,
        batch_size=batch_size,
        max_frames=frames,
        progress=is_terminal(),
    )
    print_problems(lines)
    print(*reports, sep="\n")
    print(
        f"wrote {counted(len(reports), 'video')} to {output}; detections.json lists "
        f"{counted(len(detections), 'detection')}"
    )


def _predict_images(
    model: str,
    images: Sequence[str],
    output: str,
    thresholds: dict[str, Any],
    tiling: dict[str, Any],
    batch_size: int,
    max_pixels: int,
    pre_labels: "PreLabels | None",
) -> None:
    from ssd_keras.data.problems import problem_lines
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.image_paths import find_images, other_files
    from ssd_keras.engine.predict import num_reaching, predict
    from ssd_keras.engine.tiles import tiled

    files = find_images(images)
    detector = tiled(load_detector(model), **tiling, batch_size=batch_size)
    detections, problems = predict(
        detector,
        images,
        output,
        **thresholds,
        batch_size=batch_size,
        progress=is_terminal(),
        max_pixels=max_pixels,
        pre_labels=pre_labels,
    )
    spec = pre_labels.write(is_terminal()) if pre_labels else ""
    print_problems([*filter(None, [other_files(images)]), *problem_lines(problems)])
    num_images = len(files) - sum(problem.is_loss for problem in problems)
    drawn_from = thresholds["display_threshold"]
    if drawn_from is None:
        drawn_from = getattr(detector, "display_threshold", DEFAULT)
    num_drawn = num_reaching(detections, drawn_from, detector.class_names)
    print(
        f"wrote {counted(num_images, 'image')} to {output}; {num_drawn} of "
        f"{counted(len(detections), 'detection')} are drawn, from {_scores(drawn_from)} on; "
        "detections.json lists all"
    )
    if pre_labels:
        smallest = pre_labels.score_threshold
        listed_from = drawn_from if smallest is None else smallest
        print(
            f"wrote {pre_labels.num_boxes} boxes from {_scores(listed_from)} on as annotations; "
            f"read them as '{spec}'"
        )


def _predict_rows(
    model: str,
    sources: Sequence[str],
    output: str,
    score_threshold: float,
    ray: str | None,
    workers: int | None,
    **options: Any,
) -> None:
    from ssd_keras.data.problems import problem_lines
    from ssd_keras.engine.batch.predict_files import predict_files
    from ssd_keras.engine.image_paths import other_files

    totals = predict_files(
        model,
        sources,
        output,
        score_threshold=score_threshold,
        ray=ray or "local",
        num_workers=workers,
        progress=is_terminal(),
        **options,
    )
    print_problems([*filter(None, [other_files(sources)]), *problem_lines(totals.problems)])
    unread = f"; {totals.num_invalid} could not be read" if totals.num_invalid else ""
    print(
        f"wrote the rows of {counted(totals.num_images, 'image')} with "
        f"{counted(totals.num_detections, 'detection')} to {output}{unread}"
    )


def _scores(threshold: float | tuple[float, ...]) -> str:
    return "their classes' scores" if isinstance(threshold, tuple) else f"a score of {threshold:g}"
