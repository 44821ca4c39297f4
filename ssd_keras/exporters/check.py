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
from ssd_keras.models.post_process_tensorflow import class_scores, nms
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite import flatbuffer

SUPPRESSION = "NON_MAX_SUPPRESSION_V5"
# Left over by variables that were not frozen, or by a post-processing that is none of ours.
FORBIDDEN_OPERATORS = ("VAR_HANDLE", "READ_VARIABLE", "WHILE", "IF", "CALL_ONCE")


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far an artefact may be from Keras."""

    iou: float  # smallest overlap of a box with Keras' box
    score: float  # largest difference of scores
    share: float  # of the detections, which must be so


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
    """What an export wrote."""

    path: str  # the artefact
    size: int  # its bytes
    # how often each operator occurs, most frequent first; of a TFLite file
    operators: Mapping[str, int]
    seconds: float  # time of one image, the median
    num_compared: int  # detections that were compared with Keras
    num_agreed: int  # those that agreed

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.size / 1e6:.2f} MB, {self.seconds * 1e3:.1f} ms an image on "
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
    images: Sequence[np.ndarray],
    post_process: PostProcess,
    quantize: str = "none",
) -> ExportReport:
    """Runs an artefact in a fresh process and compares it with Keras."""
    operators = {}
    if path.endswith(".tflite"):
        operators = check_operators(path)
        resized = [resize_image(image, model.image_size).numpy() for image in images]
        images = [np.rint(image).astype("uint8") for image in resized]
    results, seconds = run_artefact(path, images)
    num_compared = num_agreed = 0
    for image, outputs in zip(images, results, strict=True):
        candidates = _keras_candidates(model, image, post_process)
        reference = _nms(candidates["boxes"], candidates["scores"], post_process)
        found = _named_detections(outputs, model, post_process)
        _check_form(found, len(model.class_names))
        if set(outputs) != set(RAW_OUTPUTS):
            _check_nms(found, post_process)
        across = POST_PROCESSING_OPERATOR in operators
        agreed = agreement(candidates, reference, found, quantize, across)
        num_compared += len(agreed)
        num_agreed += int(agreed.sum())
    if not num_compared:
        raise ValueError(
            "the check of the export found nothing to compare: Keras detects nothing in its "
            "images; pass images with objects in them (--calibration-data)."
        )
    if num_agreed < TOLERANCES[quantize].share * num_compared:
        raise ValueError(
            f"the export does not do what the Keras model does: {num_agreed} of {num_compared} "
            f"detections agree, expected {TOLERANCES[quantize].share:.1%}; nothing was written. "
            + ("Calibrate on images like those that it will see." if quantize == "int8" else "")
        )
    return ExportReport(path, artefact_size(path), operators, seconds, num_compared, num_agreed)


def check_operators(path: str) -> dict[str, int]:
    """Looks into a TFLite file for what must and must not be there."""
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
    path: str, images: Sequence[np.ndarray]
) -> tuple[list[dict[str, np.ndarray]], float]:
    """Runs an artefact in a process that does not know this package."""
    with tempfile.TemporaryDirectory() as directory:
        images_file = os.path.join(directory, "images.npz")
        results_file = os.path.join(directory, "results.npz")
        named: Any = {str(index): image for index, image in enumerate(images)}
        np.savez(images_file, **named)
        # -P: the modules beside the script must not hide others of their names.
        command = [sys.executable, "-P", runner.__file__, path, images_file, results_file]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["no message"])[-1][:200]
            raise ValueError(f"the export cannot be run by others ({reason}).")
        with np.load(results_file) as results:
            outputs: list[dict[str, np.ndarray]] = [{} for _ in images]
            for name in results.files:
                index, _, key = name.partition("/")
                if key:
                    outputs[int(index)][key] = results[name][0]
            return outputs, float(np.median(results["seconds"]))


def artefact_size(path: str) -> int:
    """Bytes of a file, or of all files of a directory."""
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
    """
    tolerance = TOLERANCES[quantize]
    best = max([0.0, *reference["scores"], *found["scores"]])
    floor = SCORE_FLOOR[quantize] * best
    found_iou = np.asarray(pairwise_iou(found["boxes"], candidates["boxes"]))
    distance = np.abs(found["scores"][:, None] - candidates["scores"][:, found["labels"]].T)
    is_seen = (found_iou >= tolerance.iou) & (distance <= tolerance.score)
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


def _keras_candidates(model, image, post_process):
    resized = resize_image(image, model.image_size).numpy()
    outputs = {k: np.asarray(v) for k, v in model.predict_on_batch(resized[None]).items()}
    boxes = _decoded(outputs["box_deltas"][0], model)
    scores = class_scores(outputs["class_logits"][0], model.activation)[:, 1:].numpy()
    return {"boxes": boxes.clip(0, 1) if post_process.clip_boxes else boxes, "scores": scores}


def _decoded(box_deltas, model):
    variances = model.default_boxes.variances
    return decode_boxes(
        box_deltas, np.asarray(model.default_box_array, "float32"), variances
    ).numpy()


def _nms(boxes, scores, post_process):
    """The detections of one image, unused places left out."""
    found = nms(tf.constant(boxes[None]), tf.constant(scores[None]), post_process)
    count = int(found["num_detections"][0])
    return {name: np.asarray(found[name][0])[:count] for name in ("boxes", "scores", "labels")}


def _named_detections(outputs, model, post_process):
    """An artefact's outputs for one image as detections, whatever its form."""
    if set(outputs) == set(RAW_OUTPUTS):
        return _nms(_decoded(outputs["box_deltas"], model), outputs["class_scores"], post_process)
    count = float(outputs["num_detections"])
    if not 0 <= count <= post_process.max_detections:
        raise ValueError(
            f"the export gives {count} detections, expected 0..{post_process.max_detections}."
        )
    count = int(count)
    labels = outputs["detection_classes"][:count]
    if (labels != np.rint(labels)).any():
        raise ValueError(f"the export gives class {labels.max()}, expected whole numbers.")
    boxes = outputs["detection_boxes"][:count]
    return {
        # The custom operator never clips.
        "boxes": boxes.clip(0, 1) if post_process.clip_boxes else boxes,
        "scores": outputs["detection_scores"][:count],
        "labels": labels.astype("int32"),
    }


def _check_form(found, num_classes):
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ValueError(f"the export gives {name} that are no numbers.")
    if ((found["labels"] < 0) | (found["labels"] >= num_classes)).any():
        raise ValueError(f"the export gives classes outside 0..{num_classes - 1}.")


def _check_nms(found, post_process):
    """The post-processing keeps its own promises, whatever it was fed."""
    scores = found["scores"]
    lowest = post_process.score_threshold
    if (np.diff(scores) > 0).any() or (scores < lowest - ROUNDING).any():
        raise ValueError(
            f"the export gives {np.array2string(scores[:3], precision=3)}... as scores, expected "
            f"falling scores of {lowest} or more."
        )
    overlap = np.asarray(pairwise_iou(found["boxes"], found["boxes"]))
    is_other = found["labels"][:, None] == found["labels"]
    np.fill_diagonal(is_other, False)
    highest = overlap[is_other].max(initial=0.0)
    if highest > post_process.iou_threshold + ROUNDING:
        raise ValueError(
            f"the export gives boxes that overlap by {highest:.2f}, expected at most "
            f"{post_process.iou_threshold}; its suppression does not work."
        )
