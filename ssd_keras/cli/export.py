"""`ssd-keras export`."""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.cli.arguments import DATA_HELP, MODEL_HELP, add_bad_data, fraction, positive_int
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.terminal import start_tensorflow
from ssd_keras.exporters.formats import FORMATS, check_request

if TYPE_CHECKING:
    from ssd_keras.models.ssd import SSD

HELP = f"write a model as {' or '.join(row.title for row in FORMATS.values())}"
MAX_CALIBRATION_IMAGES = 200  # int8 calibration gains nothing from more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    suffixes = " or ".join(row.suffix for row in FORMATS.values() if row.suffix)
    parser.add_argument("model", help=f"{MODEL_HELP}, or the name of a preset, untrained")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--output", required=True, help=f"folder, or file ending in {suffixes}")
    for name in dict.fromkeys(name for row in FORMATS.values() for name in row.options):
        _add_option(parser, name)
    parser.add_argument(
        "--calibration-data",
        nargs="+",
        action="extend",
        default=[],
        help=f"images for the calibration of int8 and for the check: {DATA_HELP}",
    )
    for name in ("score-threshold", "iou-threshold"):
        parser.add_argument(f"--{name}", type=fraction, help="default: the model's own")
    parser.add_argument("--max-detections", type=positive_int, help="default: the model's own")
    add_bad_data(parser)
    parser.set_defaults(run=run)


def _add_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds the flag of an option of one format or several."""
    options = {row.name: row.options[name] for row in FORMATS.values() if name in row.options}
    words = [option.choices for option in options.values() if not option.is_number]
    choices = dict.fromkeys(itertools.chain.from_iterable(words)) or None
    meaning = "; ".join(f"{format}: {option.help}" for format, option in options.items())
    metavar = None if choices else "N"
    parser.add_argument(
        f"--{name.replace('_', '-')}", choices=choices, metavar=metavar, help=meaning
    )


def run(
    model: str,
    format: str,
    output: str,
    calibration_data: Sequence[str],
    bad_data: str,
    score_threshold: float | None,
    iou_threshold: float | None,
    max_detections: int | None,
    **format_options: str | None,
) -> None:
    options = {name: value for name, value in format_options.items() if value is not None}
    check_request(output, format, options, calibration_data)
    start_tensorflow()
    from ssd_keras.exporters.export import export, sample_images

    detector = _model_or_preset(model)
    thresholds: dict[str, Any] = {
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "max_detections": max_detections,
    }
    changes = {name: value for name, value in thresholds.items() if value is not None}
    data = None
    if calibration_data:
        data = read_data(calibration_data, bad_data, detector.class_names)
    print("exporting, then checking in a fresh process: up to a minute")
    report = export(
        detector,
        output,
        format,
        post_process=dataclasses.replace(detector.post_process, **changes),
        images=sample_images(data, MAX_CALIBRATION_IMAGES) if data else (),
        **options,
    )
    print(report)


def _model_or_preset(name: str) -> "SSD":
    from ssd_keras.engine.detector import load_model
    from ssd_keras.presets import from_preset, is_trained

    if not is_trained(name):
        print(f"note: the preset {name} has random weights", file=sys.stderr)
        return from_preset(name)
    return load_model(name)
