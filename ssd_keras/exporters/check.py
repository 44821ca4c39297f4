"""The check at the end of an export: the artefact, run by others, against the Keras model."""

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.coding import decode_boxes
from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.data.images import resize_image
from ssd_keras.exporters import runner
from ssd_keras.exporters.tflite import OUTPUTS, POST_PROCESSING_OPERATOR, RAW_OUTPUTS
from ssd_keras.models.post_process import DetectionSettings, class_scores, suppressed
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite import flatbuffer

SUPPRESSION = "NON_MAX_SUPPRESSION_V5"
# Left over by variables that were not frozen, or by a post-processing that is none of ours.
FORBIDDEN_OPERATORS = ("VAR_HANDLE", "READ_VARIABLE", "WHILE", "IF", "CALL_ONCE")


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far an artefact may be from Keras.

    Args:
        iou: smallest overlap of a box with Keras' box.
        score: largest difference of scores.
        share: of the detections, which must be so.
    """

    iou: float
    score: float
    share: float


TOLERANCES: Mapping[str, Tolerance] = {
    "none": Tolerance(0.98, 0.005, 0.995),
    "bfloat16": Tolerance(0.9, 0.05, 0.98),
    "float16": Tolerance(0.95, 0.03, 0.98),
    "dynamic": Tolerance(0.6, 0.25, 0.85),
    "int8": Tolerance(0.6, 0.25, 0.85),
}
ROUNDING = 1e-4
# Below this part of the best score, quantised scores are noise.
SCORE_FLOOR = {"none": 0.0, "bfloat16": 0.1, "float16": 0.1, "dynamic": 0.5, "int8": 0.5}


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Args:
        path: the artefact.
        size: its bytes.
        operators: how often each operator occurs, most frequent first; of a TFLite file.
        seconds: time of one picture, the median.
        num_compared: detections that were compared with Keras.
        num_agreed: those that agreed.
    """

    path: str
    size: int
    operators: Mapping[str, int]
    seconds: float
    num_compared: int
    num_agreed: int

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.size / 1e6:.2f} MB, {self.seconds * 1e3:.1f} ms a picture on "
            f"{runner.NUM_THREADS} threads",
            f"check: {self.num_agreed} of {self.num_compared} detections agree with Keras",
        ]
        if self.operators:
            counts = ", ".join(f"{name} {count}" for name, count in self.operators.items())
            lines.append(f"operators: {counts}")
        return "\n".join(lines)


def check_artefact(
    path: str,
    model: SSD,
    pictures: Sequence[np.ndarray],
    settings: DetectionSettings,
    quantize: str = "none",
) -> ExportReport:
    """Runs an artefact in a fresh process and compares it with Keras.

    Args:
        path: a SavedModel's directory or a TFLite file.
        model: the `SSD` that it was made of.
        pictures: uint8 [H, W, 3] of any size, at least one.
        settings: what it was exported with.
        quantize: how it was quantised, or "bfloat16": decides how equal it must be.

    Returns:
        what was found.

    Raises:
        ValueError: when it fails, saying in what.
    """
    operators = {}
    if path.endswith(".tflite"):
        operators = check_operators(path)
        resized = [resize_image(picture, model.image_size).numpy() for picture in pictures]
        pictures = [np.rint(picture).astype("uint8") for picture in resized]
    results, seconds = run_artefact(path, pictures)
    num_compared = num_agreed = 0
    for picture, outputs in zip(pictures, results, strict=True):
        candidates = _keras_candidates(model, picture, settings)
        reference = _suppressed(candidates["boxes"], candidates["scores"], settings)
        found = _named_detections(outputs, model, settings)
        _check_form(found, len(model.class_names))
        if set(outputs) != set(RAW_OUTPUTS):
            _check_suppression(found, settings)
        across = POST_PROCESSING_OPERATOR in operators
        agreed = agreement(candidates, reference, found, quantize, across)
        num_compared += len(agreed)
        num_agreed += int(agreed.sum())
    if not num_compared:
        raise ValueError(
            "the check of the export found nothing to compare: Keras detects nothing in its "
            "pictures; pass pictures with objects in them (--calibration-data)."
        )
    if num_agreed < TOLERANCES[quantize].share * num_compared:
        raise ValueError(
            f"the export does not do what the Keras model does: {num_agreed} of {num_compared} "
            f"detections agree, expected {TOLERANCES[quantize].share:.1%}; nothing was written. "
            + ("Calibrate on pictures like those that it will see." if quantize == "int8" else "")
        )
    return ExportReport(path, artefact_size(path), operators, seconds, num_compared, num_agreed)


def check_operators(path: str) -> dict[str, int]:
    """Looks into a TFLite file for what must and must not be there.

    Args:
        path: the file.

    Returns:
        count by operator, most frequent first.

    Raises:
        ValueError: when its post-processing is gone or its variables were not frozen.
    """
    with open(path, "rb") as file:
        model = flatbuffer.read_model(file.read())
    counts = flatbuffer.operator_counts(model)
    graph = model.subgraphs[0]
    names = tuple(graph.tensors[index].name.decode() for index in graph.outputs)
    suppressions = sum(counts.get(name, 0) for name in (SUPPRESSION, POST_PROCESSING_OPERATOR))
    if names not in (OUTPUTS, RAW_OUTPUTS) or suppressions != (names == OUTPUTS):
        raise ValueError(
            f"the TFLite graph ends in {', '.join(names)} with {suppressions} suppressions; its "
            "post-processing was lost in the conversion."
        )
    for name in counts:
        is_flex = name.startswith("Flex")
        if name in FORBIDDEN_OPERATORS or is_flex:
            raise ValueError(f"the TFLite graph has the operator {name}, which phones lack.")
    return counts


def run_artefact(
    path: str, pictures: Sequence[np.ndarray]
) -> tuple[list[dict[str, np.ndarray]], float]:
    """Runs an artefact in a process that does not know this package.

    Args:
        path: a SavedModel's directory or a TFLite file.
        pictures: uint8 [H, W, 3].

    Returns:
        outputs by name for each picture, without the batch axis, and the median of seconds.

    Raises:
        ValueError: when the process fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        pictures_file = os.path.join(directory, "pictures.npz")
        results_file = os.path.join(directory, "results.npz")
        named: Any = {str(index): picture for index, picture in enumerate(pictures)}
        np.savez(pictures_file, **named)
        # -P: the modules beside the script must not hide others of their names.
        command = [sys.executable, "-P", runner.__file__, path, pictures_file, results_file]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["no message"])[-1][:200]
            raise ValueError(f"the export cannot be run by others ({reason}).")
        with np.load(results_file) as results:
            outputs: list[dict[str, np.ndarray]] = [{} for _ in pictures]
            for name in results.files:
                index, _, key = name.partition("/")
                if key:
                    outputs[int(index)][key] = results[name][0]
            return outputs, float(np.median(results["seconds"]))


def artefact_size(path: str) -> int:
    """Bytes of a file, or of all files of a directory.

    Args:
        path: the file or directory.

    Returns:
        number of bytes.
    """
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(directory, name))
        for directory, _, names in os.walk(path)
        for name in names
    )


def agreement(
    candidates: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    quantize: str,
    across_classes: bool = False,
) -> np.ndarray:
    """Which detections of both sides are confirmed by the other.

    Equal scores may be suppressed in another order, so it is not asked that both lists are the
    same. A detection found must be one that Keras sees before suppression: a box of that class,
    place and score. A detection of Keras must be found, or overlap with one found that scores
    as high.

    Args:
        candidates: Keras' "boxes" [N, 4] and "scores" [N, classes] before suppression.
        reference: Keras' "boxes", "scores", "labels" after it.
        found: the artefact's.
        quantize: how it was quantised.
        across_classes: boxes of different classes suppress each other.

    Returns:
        bool, one for each detection of both that was compared.
    """
    tolerance = TOLERANCES[quantize]
    best = max([0.0, *reference["scores"], *found["scores"]])
    floor = SCORE_FLOOR[quantize] * best
    found_overlap = np.asarray(pairwise_iou(found["boxes"], candidates["boxes"]))
    distance = np.abs(found["scores"][:, None] - candidates["scores"][:, found["labels"]].T)
    is_seen = (found_overlap >= tolerance.iou) & (distance <= tolerance.score)
    sound = is_seen.any(axis=1)[found["scores"] >= floor]

    overlap = np.asarray(pairwise_iou(reference["boxes"], found["boxes"]))
    is_as_high = found["scores"] >= reference["scores"][:, None] - tolerance.score
    is_same = reference["labels"][:, None] == found["labels"]
    complete = ((overlap > 0.3) & is_as_high & (is_same | across_classes)).any(axis=1)
    # The last of a full list may have made room for others that score alike.
    lowest = found["scores"].min(initial=1.0) + tolerance.score
    is_full = len(found["scores"]) >= len(reference["scores"])
    compared = (reference["scores"] >= floor) & ~(is_full & (reference["scores"] <= lowest))
    return np.concatenate([sound, complete[compared]])


def _keras_candidates(model, picture, settings):
    resized = resize_image(picture, model.image_size).numpy()
    outputs = {k: np.asarray(v) for k, v in model.predict_on_batch(resized[None]).items()}
    boxes = _decoded(outputs["box_deltas"][0], model)
    scores = class_scores(outputs["class_logits"][0], model.score_activation)[:, 1:].numpy()
    return {"boxes": boxes.clip(0, 1) if settings.clip_boxes else boxes, "scores": scores}


def _decoded(box_deltas, model):
    variances = model.default_box_spec.variances
    return decode_boxes(box_deltas, np.asarray(model.default_boxes, "float32"), variances).numpy()


def _suppressed(boxes, scores, settings):
    """The detections of one picture, unused places left out."""
    found = suppressed(tf.constant(boxes[None]), tf.constant(scores[None]), settings)
    count = int(found["num_detections"][0])
    return {name: np.asarray(found[name][0])[:count] for name in ("boxes", "scores", "labels")}


def _named_detections(outputs, model, settings):
    """An artefact's outputs for one picture as detections, whatever its form."""
    if set(outputs) == set(RAW_OUTPUTS):
        return _suppressed(
            _decoded(outputs["box_deltas"], model), outputs["class_scores"], settings
        )
    count = float(outputs["num_detections"])
    if not 0 <= count <= settings.max_detections:
        raise ValueError(
            f"the export gives {count} detections, expected 0..{settings.max_detections}."
        )
    count = int(count)
    labels = outputs["detection_classes"][:count]
    if (labels != np.rint(labels)).any():
        raise ValueError(f"the export gives class {labels.max()}, expected whole numbers.")
    boxes = outputs["detection_boxes"][:count]
    return {
        # The custom operator never clips.
        "boxes": boxes.clip(0, 1) if settings.clip_boxes else boxes,
        "scores": outputs["detection_scores"][:count],
        "labels": labels.astype("int32"),
    }


def _check_form(found, num_classes):
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ValueError(f"the export gives {name} that are no numbers.")
    if ((found["labels"] < 0) | (found["labels"] >= num_classes)).any():
        raise ValueError(f"the export gives classes outside 0..{num_classes - 1}.")


def _check_suppression(found, settings):
    """The post-processing keeps its own promises, whatever it was fed."""
    scores = found["scores"]
    lowest = settings.score_threshold
    if (np.diff(scores) > 0).any() or (scores < lowest - ROUNDING).any():
        raise ValueError(
            f"the export gives {np.array2string(scores[:3], precision=3)}... as scores, expected "
            f"falling scores of {lowest} or more."
        )
    overlap = np.asarray(pairwise_iou(found["boxes"], found["boxes"]))
    is_other = found["labels"][:, None] == found["labels"]
    np.fill_diagonal(is_other, False)
    highest = overlap[is_other].max(initial=0.0)
    if highest > settings.iou_threshold + ROUNDING:
        raise ValueError(
            f"the export gives boxes that overlap by {highest:.2f}, expected at most "
            f"{settings.iou_threshold}; its suppression does not work."
        )
