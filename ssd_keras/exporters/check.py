"""The check at the end of an export: the artefact in a fresh process against the Keras model."""

import dataclasses
import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.core.text import counted
from ssd_keras.data.images import resize_image
from ssd_keras.exporters import runner
from ssd_keras.exporters.formats import NUM_THREADS, RAW_OUTPUTS, Format, Tolerance
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

NUM_CHECK_IMAGES = 4

ImageDetections = Mapping[str, np.ndarray]
"""boxes [n, 4], scores [n] and labels [n] of one image."""
ROUNDING = 1e-4
"""How far scores and IoUs may be beyond a threshold, because runtimes round differently."""


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote."""

    path: str  # of the artefact
    size: int  # bytes of the artefact
    operators: Mapping[str, int]  # occurrences, most frequent first; empty for a SavedModel
    seconds: float  # median time of one image
    num_compared: int  # detections compared with Keras
    num_agreed: int  # those that agree
    num_images: int  # on which they are compared
    floor: float  # share of an image's best score from which they are compared

    def __str__(self) -> str:
        scores = f" (of scores of {self.floor:.0%} of the best or more)" if self.floor else ""
        lines = [
            f"{self.path}: {self.size / 1e6:.2f} MB, {self.seconds * 1e3:.1f} ms an image on "
            f"{NUM_THREADS} threads",
            f"check on {counted(self.num_images, 'image')}: {self.num_agreed} of "
            f"{self.num_compared} detections agree with Keras{scores}",
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
    row: Format,
    options: Mapping[str, str],
) -> ExportReport:
    """Runs an artefact in a fresh process and compares it with Keras."""
    post_process = post_process.bound_to(model)
    tolerance, choices = row.tolerance(options), set(options.values())
    operators = row.functions.check_operators(path)
    if not row.takes_any_size:
        resized = [resize_image(image, model.image_size).numpy() for image in images]
        images = [np.rint(image).astype("uint8") for image in resized]
    results, seconds = run_artefact(path, images, row)
    agreed: list[bool] = []
    for image, outputs in zip(images, results, strict=True):
        candidates, reference = _keras_detections(model, image, post_process)
        detections = _exported_detections(outputs, post_process)
        _check_values(detections, len(model.class_names))
        if set(outputs) != set(RAW_OUTPUTS):
            _check_nms(detections, post_process)
        class_agnostic = post_process.class_agnostic or not choices.isdisjoint(row.across_classes)
        smallest = post_process.class_thresholds
        agreed += agreement(
            candidates, reference, detections, tolerance, class_agnostic, smallest
        ).tolist()
    if not agreed:
        raise ValueError(
            "the check of the export has nothing to compare: Keras detects nothing in its "
            "images; pass images with objects in them (--calibration-data)."
        )
    if sum(agreed) < tolerance.share * len(agreed):
        is_calibrated = not choices.isdisjoint(row.calibrated)
        raise ValueError(
            f"the export disagrees with the Keras model: {sum(agreed)} of {len(agreed)} "
            f"detections agree, expected {tolerance.share:.1%}; nothing was written. "
            + ("Calibrate on images like those that it will see." if is_calibrated else "")
        )
    numbers = len(agreed), sum(agreed), len(images), tolerance.floor
    return ExportReport(path, artefact_size(path), operators, seconds, *numbers)


def run_artefact(
    path: str, images: Sequence[np.ndarray], row: Format
) -> tuple[list[dict[str, np.ndarray]], float]:
    """Returns each image's outputs and the median seconds from a process without ssd_keras."""
    with tempfile.TemporaryDirectory() as directory:
        images_file = os.path.join(directory, "images.npz")
        results_file = os.path.join(directory, "results.npz")
        start_file = os.path.join(directory, "start.py")
        np.savez(images_file, *images)
        Path(start_file).write_text(inspect.getsource(row.functions.start), encoding="utf-8")
        # -P: modules beside the script must not hide others of the same name.
        command = [sys.executable, "-P", runner.__file__, start_file, path, str(NUM_THREADS)]
        command += [images_file, results_file]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["no message"])[-1][:200]
            if process.returncode < 0:
                reason = f"the runtime crashes with signal {-process.returncode}"
            raise ValueError(f"the export does not run in a fresh process ({reason}).")
        with np.load(results_file) as results:
            outputs: list[dict[str, np.ndarray]] = [{} for _ in images]
            for name in results.files:
                index, _, key = name.partition("/")
                if key:
                    outputs[int(index)][key] = results[name][0]
            return outputs, float(np.median(results["seconds"]))


def artefact_size(path: str) -> int:
    """Returns the bytes of a file, or of all files of a folder."""
    paths = [Path(path), *Path(path).rglob("*")]
    return sum(file.stat().st_size for file in paths if file.is_file())


def agreement(
    candidates: ImageDetections,
    reference: ImageDetections,
    detections: ImageDetections,
    tolerance: Tolerance,
    class_agnostic: bool = False,
    smallest: np.ndarray | None = None,
) -> np.ndarray:
    """Returns for each compared detection of either side whether the other side confirms it.

    `candidates` are what Keras has before NMS, `reference` what NMS leaves of them; `smallest` are
    the score thresholds by label.
    """
    # NMS may take equal scores in another order, so the lists need not be the same. Keras confirms
    # a detection by a candidate of that class, box and score. The export confirms a detection of
    # Keras by one that overlaps it and scores as high.
    scores = detections["scores"]
    floor = tolerance.floor * max([0.0, *reference["scores"], *scores])
    candidate_iou = pairwise_iou(detections["boxes"], candidates["boxes"])
    difference = np.abs(scores[:, None] - candidates["scores"][:, detections["labels"]].T)
    is_candidate = (candidate_iou >= tolerance.iou) & (difference <= tolerance.score)
    confirmed = is_candidate.any(axis=1)[scores >= floor]

    iou = pairwise_iou(reference["boxes"], detections["boxes"])
    is_as_high = scores >= reference["scores"][:, None] - tolerance.score
    is_same_class = reference["labels"][:, None] == detections["labels"]
    is_found = ((iou > 0.3) & is_as_high & (is_same_class | class_agnostic)).any(axis=1)
    # Of a full list, the last may have given way to others that score alike.
    lowest = scores.min(initial=1.0) + tolerance.score
    is_full = len(scores) >= len(reference["scores"])
    is_compared = (reference["scores"] >= floor) & ~(is_full & (reference["scores"] <= lowest))
    if smallest is not None:  # so near to its threshold, a score may lie on either side of it
        is_compared &= reference["scores"] >= smallest[reference["labels"]] + tolerance.score
    return np.concatenate([confirmed, is_found[is_compared]])


def _keras_detections(
    model: SSD, image: np.ndarray, post_process: PostProcess
) -> tuple[ImageDetections, ImageDetections]:
    """Returns boxes [N, 4] and scores [N, classes] before NMS, and what NMS leaves of them."""
    resized = resize_image(image, model.image_size).numpy()
    outputs = model.predict_on_batch(resized[None])
    boxes = np.asarray(post_process.decode(outputs["box_deltas"])[0])
    scores = np.asarray(post_process.scores(outputs["class_logits"])[0])
    candidates = {"boxes": _clipped(boxes, post_process), "scores": scores}
    return candidates, _used(post_process(outputs))


def _clipped(boxes: np.ndarray, post_process: PostProcess) -> np.ndarray:
    return boxes if post_process.clip_boxes == "none" else boxes.clip(0, 1)


def _used(batch: Mapping[str, Any]) -> ImageDetections:
    """Returns the detections of the first image without unused slots."""
    count = int(batch["num_detections"][0])
    return {name: np.asarray(batch[name][0])[:count] for name in ("boxes", "scores", "labels")}


def _exported_detections(
    outputs: Mapping[str, np.ndarray], post_process: PostProcess
) -> ImageDetections:
    """Returns an artefact's detections of one image; raw outputs get Keras' post-processing."""
    if set(outputs) == set(RAW_OUTPUTS):
        deltas, scores = (outputs[name][None] for name in RAW_OUTPUTS)
        return _used(post_process.detections(deltas, scores))
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
        "boxes": _clipped(boxes, post_process),
        "scores": outputs["detection_scores"][:count],
        "labels": labels.astype("int32"),
    }


def _check_values(detections: ImageDetections, num_classes: int) -> None:
    for name, values in detections.items():
        if not np.isfinite(values).all():
            raise ValueError(f"the export gives {name} that are not finite.")
    if ((detections["labels"] < 0) | (detections["labels"] >= num_classes)).any():
        raise ValueError(f"the export gives classes outside 0..{num_classes - 1}.")


def _check_nms(detections: ImageDetections, post_process: PostProcess) -> None:
    """Checks score order and the IoU of kept boxes of one class."""
    scores = detections["scores"]
    smallest = post_process.class_thresholds
    by_label = post_process.score_threshold if smallest is None else smallest[detections["labels"]]
    lowest = np.asarray(by_label)
    if (np.diff(scores) > 0).any() or (scores < lowest - ROUNDING).any():
        raise ValueError(
            f"the export gives {np.array2string(scores[:3], precision=3)}... as scores, expected "
            f"falling scores of {post_process.score_threshold} or more."
        )
    is_same_class = detections["labels"][:, None] == detections["labels"]
    np.fill_diagonal(is_same_class, False)
    iou = pairwise_iou(detections["boxes"], detections["boxes"])
    highest = iou[is_same_class].max(initial=0.0)
    if highest > post_process.iou_threshold + ROUNDING and post_process.clip_boxes != "after":
        raise ValueError(
            f"the export keeps boxes of one class with an IoU of {highest:.2f}, expected at most "
            f"{post_process.iou_threshold}; its NMS does not work."
        )
