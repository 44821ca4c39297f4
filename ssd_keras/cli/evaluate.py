"""`ssd-keras evaluate`."""

import argparse
import os
from collections.abc import Sequence

from ssd_keras.cli.arguments import DETECTOR_HELP, add_data, add_results, positive_int
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.files import check_writable
from ssd_keras.core.terminal import is_terminal, start_tensorflow

HELP = "measure a model as the papers do"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=DETECTOR_HELP)
    add_data(parser)
    add_results(parser, "folder for report.html, which shows the mistakes")
    parser.add_argument("--batch-size", type=positive_int, default=8)
    parser.set_defaults(run=run)


def run(
    model: str,
    data: Sequence[str],
    bad_data: str,
    max_pixels: int,
    json_path: str | None,
    plots: str | None,
    batch_size: int,
) -> None:
    if json_path:
        check_writable(json_path)
    start_tensorflow()
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.evaluate import evaluate, write_json
    from ssd_keras.evaluation.metrics import metrics_table

    detector = load_detector(model)
    names = detector.class_names
    metrics = evaluate(
        detector,
        read_data(data, bad_data, names, part="validation", max_pixels=max_pixels),
        batch_size,
        progress=is_terminal(),
        plots=plots,
        title=f"{model} on {' '.join(data)}",
    )
    if json_path:  # before what is printed, which may fail
        write_json(metrics, json_path)
    print(metrics_table(metrics))
    print(f"{metrics['images_per_second']} images a second, reading included")
    if plots:
        print(f"wrote {os.path.join(plots, 'report.html')}")
