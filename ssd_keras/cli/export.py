"""`ssd-keras export`."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.cli.arguments import DATA_HELP, MODEL_HELP, add_bad_data, fraction, positive_int
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.terminal import start_tensorflow
from ssd_keras.exporters.formats import FORMATS

if TYPE_CHECKING:
    from ssd_keras.models.ssd import SSD

HELP = "write a SavedModel or a TFLite file"
MAX_CALIBRATION_IMAGES = 200  # int8 calibration gains nothing from more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    saved_model, tflite = FORMATS["saved_model"].options, FORMATS["tflite"].options
    parser.add_argument("model", help=f"{MODEL_HELP}, or the name of a preset, untrained")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--output", required=True, help="directory, or file ending in .tflite")
    parser.add_argument(
        "--precision",
        choices=saved_model["precision"],
        help="saved_model: precision of the network; bfloat16 takes about half the time where "
        "the processor or GPU computes in it; default float32",
    )
    parser.add_argument(
        "--weights",
        choices=saved_model["weights"],
        help="saved_model: constants (default) are faster for small batches, variables take a "
        "sixth of the memory",
    )
    parser.add_argument(
        "--quantize",
        choices=tflite["quantize"],
        help="tflite: smaller weights, or with int8 a smaller network; default float32",
    )
    parser.add_argument(
        "--post-processing",
        choices=tflite["post_processing"],
        help="tflite: builtin (default) is exact per-class NMS in built-in operators, op one "
        "custom operator with NMS across classes, none raw outputs for GPU delegates",
    )
    parser.add_argument(
        "--input", dest="input_dtype", choices=tflite["input_dtype"], help="tflite; default uint8"
    )
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
    from ssd_keras.exporters.formats import check_request

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
