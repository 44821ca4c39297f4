"""`ssd-keras score`."""

import argparse
import os
from collections.abc import Sequence

from ssd_keras.cli.arguments import add_data, add_results
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.files import check_writable

HELP = "measure detections that another program wrote"
DESCRIPTION = (
    "Measures detections in COCO's results format as `ssd-keras evaluate` measures a model; images "
    "are not read. Each entry has image_id, category_id or category_name, bbox [x, y, width, "
    "height] in pixels, and score."
)
EXAMPLES = ("ssd-keras score --detections detections.json --data coco:instances.json@images",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    detections = parser.add_argument_group("detections")
    detections.add_argument(
        "--detections", required=True, metavar="FILE", help="JSON file in COCO's results format"
    )
    add_data(parser)
    add_results(parser, "also write report.html, without images, into this folder")
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
        print(f"wrote {os.path.join(plots, 'report.html')}; open it in a browser")
