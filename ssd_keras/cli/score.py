"""`ssd-keras score`."""

import argparse
import os
from collections.abc import Sequence

from ssd_keras.cli.arguments import add_data, add_results
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.files import check_writable

HELP = "measure detections of another program"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detections", required=True, help="COCO results JSON")
    add_data(parser)
    add_results(parser, "folder for report.html, without images")
    parser.set_defaults(run=run)


def run(
    detections: str,
    data: Sequence[str],
    bad_data: str,
    max_pixels: int,
    json_path: str | None,
    plots: str | None,
) -> None:
    from ssd_keras.engine.evaluate import score, write_json
    from ssd_keras.evaluation.metrics import metrics_table

    if json_path:
        check_writable(json_path)
    truth = read_data(data, bad_data, check_images=False, part="validation", max_pixels=max_pixels)
    metrics = score(detections, truth, plots=plots, title=f"{detections} on {' '.join(data)}")
    if json_path:  # before what is printed, which may fail
        write_json(metrics, json_path)
    print(metrics_table(metrics))
    if plots:
        print(f"wrote {os.path.join(plots, 'report.html')}")
