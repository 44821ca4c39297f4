"""`ssd-keras evaluate`."""

import argparse
import os
from collections.abc import Sequence

from ssd_keras.cli.arguments import DETECTOR_HELP, add_batch_size, add_data, add_results
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.files import check_writable
from ssd_keras.core.terminal import is_terminal, start_tensorflow

HELP = "measure a detector on labelled data"
DESCRIPTION = (
    "Measures a detector on labelled data: COCO's AP, VOC's mAP, and AP by class and size of the "
    "objects. With --plots it also writes report.html, which shows the mistakes with their images."
)
EXAMPLES = (
    "ssd-keras evaluate runs/mine --data voc:ROOT@val --plots report",
    "ssd-keras evaluate mine_int8.tflite --data data.toml --json metrics.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument("model", metavar="MODEL", help=DETECTOR_HELP)
    add_batch_size(model)
    add_data(parser)
    add_results(parser, "also write report.html with the mistakes into this folder")
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
