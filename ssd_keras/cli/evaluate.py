"""`ssd-keras evaluate`."""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from ssd_keras.cli.arguments import (
    DETECTOR_HELP,
    add_batch_size,
    add_data,
    add_ray,
    add_results,
    add_tiles,
    fraction_or_word,
)
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.files import check_writable
from ssd_keras.core.terminal import start_tensorflow

HELP = "measure a detector on labelled data"
DESCRIPTION = (
    "Measures a detector on labelled data: COCO's AP, VOC's mAP, and AP by class and size of the "
    "objects. With --plots it also writes report.html, which shows the mistakes with their images."
)
EXAMPLES = (
    "ssd-keras evaluate runs/mine --data voc:ROOT@val --plots report",
    "ssd-keras evaluate mine_int8.tflite --data data.toml --json metrics.json",
    "ssd-keras evaluate runs/mine --data voc:ROOT@val --score-threshold best --keep",
    "ssd-keras evaluate runs/mine mine_int8.tflite --data voc:ROOT@val",
    "ssd-keras evaluate runs/mine --data voc:ROOT@val --tiles 320 --tile-overlap 0.2",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help=f"{DETECTOR_HELP}; several: how the others differ from the first, with intervals",
    )
    add_batch_size(model)
    add_tiles(model)
    add_ray(model)
    add_data(parser)
    add_results(parser, "also write report.html with the mistakes into this folder")
    thresholds = parser.add_argument_group("operating point")
    thresholds.add_argument(
        "--score-threshold",
        type=fraction_or_word("best"),
        metavar="X",
        help="also count what is right, wrong and missed of each class from this score on; `best`: "
        "from the score of its largest F1 (of all classes together where it has fewer than 10 "
        "objects); default: the model's own, 0.5 unless it keeps others",
    )
    thresholds.add_argument(
        "--keep",
        action="store_true",
        help="write these thresholds into the model's file, so that predict and plot use them",
    )
    parser.set_defaults(run=run)


def run(
    models: Sequence[str],
    data: Sequence[str],
    bad_data: str,
    max_pixels: int,
    json_path: str | None,
    plots: str | None,
    score_threshold: float | str | None,
    keep: bool,
    batch_size: int,
    tiles: tuple[int, ...] | None,
    tile_overlap: float,
    ray: str | None,
) -> None:
    if json_path:
        check_writable(json_path)
    if keep and score_threshold is None:
        raise ValueError(
            "--keep is given without thresholds to keep; pass --score-threshold best, or a number."
        )
    if len(models) > 1 and (keep or plots or ray or score_threshold is not None):
        flags = "--score-threshold, --keep, --plots and --ray"
        raise ValueError(f"{flags} are of one model; pass one, or leave them out.")
    start_tensorflow()
    tiling: dict[str, Any] = {"tiles": tiles, "tile_overlap": tile_overlap}
    if len(models) > 1:
        _compare(models, data, bad_data, max_pixels, json_path, batch_size, tiling)
        return
    (model,) = models
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.evaluate import evaluate, write_json
    from ssd_keras.engine.keep_thresholds import file_to_keep_in, keep_thresholds

    kept_file = file_to_keep_in(model) if keep else ""
    detector = load_detector(model)
    names = detector.class_names
    metrics = evaluate(
        detector,
        read_data(data, bad_data, names, part="validation", max_pixels=max_pixels),
        batch_size,
        plots=plots,
        title=f"{model} on {' '.join(data)}",
        score_threshold=score_threshold,
        ray=ray,
        **tiling,
    )
    if json_path:  # before what is printed, which may fail
        write_json(metrics, json_path)
    if keep:
        keep_thresholds(kept_file, names, metrics["operating_point"]["thresholds"])
    _print_metrics(metrics, by_class=score_threshold is not None)
    if plots:
        print(f"wrote {os.path.join(plots, 'report.html')}: the mistakes; open it in a browser")
    else:
        print("--plots DIR writes a page with the mistakes")
    if keep:
        print(f"wrote the thresholds into {kept_file}")


def _print_metrics(metrics: dict[str, Any], by_class: bool) -> None:
    from ssd_keras.evaluation.metrics import metrics_table
    from ssd_keras.evaluation.operating_point import operating_point_line, operating_point_table

    point = metrics["operating_point"]
    print(metrics_table(metrics))
    print()
    print(operating_point_table(point) if by_class else operating_point_line(point))
    print(f"{metrics['images_per_second']} images a second, reading included")


def _compare(
    models: Sequence[str],
    data: Sequence[str],
    bad_data: str,
    max_pixels: int,
    json_path: str | None,
    batch_size: int,
    tiling: dict[str, Any],
) -> None:
    from ssd_keras.core.class_names import united_names
    from ssd_keras.engine.compare import compare_with_first
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.evaluate import write_json
    from ssd_keras.engine.tiles import tiled
    from ssd_keras.evaluation.compare import comparison_table

    detectors = [tiled(load_detector(name), **tiling, batch_size=batch_size) for name in models]
    names = united_names([detector.class_names for detector in detectors])
    annotated = read_data(data, bad_data, names, part="validation", max_pixels=max_pixels)
    found = compare_with_first(detectors, annotated, batch_size)
    if json_path:  # before what is printed, which may fail
        write_json({"models": list(models), "comparisons": found}, json_path)
    for model, comparison in zip(models[1:], found, strict=True):
        print(f"first: {models[0]}, second: {model}")
        print(comparison_table(comparison))
