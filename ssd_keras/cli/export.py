"""`ssd-keras export`."""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.cli.arguments import (
    DATA_HELP,
    MODEL_HELP,
    Group,
    add_bad_data,
    fraction,
    fraction_or_word,
    positive_int,
)
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.terminal import start_tensorflow
from ssd_keras.exporters.formats import FORMATS, check_request

if TYPE_CHECKING:
    from ssd_keras.models.ssd import SSD

HELP = f"write a detector as {', '.join(row.title for row in FORMATS.values())}"
DESCRIPTION = (
    "Writes a whole detector, with decoding and NMS inside, for programs without Keras, and "
    "compares it with Keras on some images. SavedModel is for servers, TFLite for phones and small "
    "boards, ONNX for ONNX Runtime, a Triton model for Triton Inference Server. `ssd-keras info "
    "formats` lists formats and options."
)
EXAMPLES = (
    "ssd-keras export runs/mine --format tflite --output mine.tflite",
    "ssd-keras export runs/mine --format tflite --quantize int8 \\\n"
    "--calibration-data voc:ROOT@train --output mine_int8.tflite",
)
MAX_CALIBRATION_IMAGES = 200  # int8 calibration gains nothing from more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument(
        "model", metavar="MODEL", help=f"{MODEL_HELP}; a preset without weights is untrained"
    )
    _add_output(parser)
    for name, group in _option_groups(parser).items():
        _add_option(group, name)
    _add_images(parser)
    thresholds = parser.add_argument_group("post-processing; default: as in the model")
    for name, meaning in (
        (
            "score-threshold",
            "drop detections of a smaller score, 0..1; `display`: of a smaller score than those "
            "that are drawn, by class",
        ),
        ("iou-threshold", "NMS drops a box that overlaps a better one by more than this IoU, 0..1"),
    ):
        kind = fraction_or_word("display") if name == "score-threshold" else fraction
        thresholds.add_argument(f"--{name}", type=kind, metavar="X", help=meaning)
    thresholds.add_argument(
        "--max-detections", type=positive_int, metavar="N", help="most detections of an image"
    )
    parser.set_defaults(run=run)


def _add_output(parser: argparse.ArgumentParser) -> None:
    suffixes = " or ".join(row.suffix for row in FORMATS.values() if row.suffix)
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=list(FORMATS), required=True, help="format to write")
    output.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help=f"folder of a SavedModel or of a Triton model, or file that ends in {suffixes}",
    )


def _option_groups(parser: argparse.ArgumentParser) -> dict[str, Group]:
    """Returns the group of each option; those of the same formats are one group."""
    owners: dict[str, str] = {}
    for name in dict.fromkeys(name for row in FORMATS.values() for name in row.options):
        owners[name] = ", ".join(row.name for row in FORMATS.values() if name in row.options)
    groups = {each: parser.add_argument_group(f"options of {each}") for each in owners.values()}
    return {name: groups[each] for name, each in owners.items()}


def _add_images(parser: argparse.ArgumentParser) -> None:
    images = parser.add_argument_group("images")
    images.add_argument(
        "--calibration-data",
        nargs="+",
        action="extend",
        default=[],
        metavar="DATA",
        help="images like those that the detector will see, such as its training data: int8 is "
        f"calibrated on {MAX_CALIBRATION_IMAGES} of them, and the export is compared with Keras "
        "on some; default: generated images, which do not calibrate int8. A "
        f"{DATA_HELP}",
    )
    add_bad_data(images)


def _add_option(group: Group, name: str) -> None:
    """Adds the flag of an option of one format or several."""
    options = {row.name: row.options[name] for row in FORMATS.values() if name in row.options}
    words = [option.choices for option in options.values() if not option.is_number]
    meanings = [option.help for option in options.values()]
    if len(options) > 1:
        meanings = [f"{format}: {option.help}" for format, option in options.items()]
    choices = list(dict.fromkeys(itertools.chain.from_iterable(words))) or None
    group.add_argument(
        f"--{name.replace('_', '-')}",
        choices=choices,
        metavar=None if choices else "N",
        help="; ".join(meanings),
    )


def run(
    model: str,
    format: str,
    output: str,
    calibration_data: Sequence[str],
    bad_data: str,
    score_threshold: float | str | None,
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
    if score_threshold == "display":
        drawn = detector.display_threshold
        # By class also where it is one number: as drawn, a score at the threshold stays.
        by_class = drawn if isinstance(drawn, tuple) else (drawn,) * len(detector.class_names)
        thresholds["score_threshold"] = by_class
    changes = {name: value for name, value in thresholds.items() if value is not None}
    data = None
    if calibration_data:
        data = read_data(calibration_data, bad_data, detector.class_names)
    kind = "calibration" if data else "generated"
    print(f"exporting, then checking on {kind} images in a fresh process: up to a minute")
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
