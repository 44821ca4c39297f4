"""Detects objects in image files: writes annotated images and detections.json."""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm.auto import tqdm

from ssd_keras.core.display_thresholds import DisplayThreshold
from ssd_keras.core.files import check_writable, short_stem
from ssd_keras.core.images import MAX_DARK_BITS, MAX_PIXELS, DecodedImage, decode_image_file
from ssd_keras.core.progress import bar_options
from ssd_keras.data.image_files import image_error
from ssd_keras.data.problems import Problem, ProblemKind, problem_lines, problem_of
from ssd_keras.drawing.draw import save_image
from ssd_keras.engine.detector import Detector, detect_several
from ssd_keras.engine.evaluate import write_json
from ssd_keras.engine.image_paths import find_images
from ssd_keras.engine.pre_labels import PreLabels


def predict(
    detector: Detector,
    paths: Sequence[str],
    output: str,
    *,
    score_threshold: float = 0.0,
    display_threshold: float | None = None,
    batch_size: int = 8,
    progress: bool = False,
    max_pixels: int = MAX_PIXELS,
    pre_labels: PreLabels | None = None,
) -> tuple[list[dict], list[Problem]]:
    """Detects objects in image files; writes drawings and `detections.json`.

    Returns COCO results, and what is wrong with images: those that cannot be read, and notes. A
    detection below `score_threshold` is dropped, one below `display_threshold`, by default the
    detector's, is not drawn. `pre_labels` gets the results, for its caller to write.
    """
    files = find_images(paths)
    for path in files:
        if os.path.realpath(output) == os.path.realpath(os.path.dirname(path)):
            raise ValueError(
                f"output {output!r} holds the image {os.path.basename(path)!r}, which a drawing "
                "might overwrite; choose another folder."
            )
    check_writable(output, is_folder=True)
    image_ids = unique_stems(files)
    detections: list[dict] = []
    problems: list[Problem] = []
    with tqdm(total=len(files), desc="predicting", unit="image", **bar_options(progress)) as bar:
        for names, images in _batches(image_ids, batch_size, max_pixels, problems, bar):
            for name, result in zip(
                names, detect_several(detector, images, batch_size), strict=True
            ):
                result = dataclasses.replace(result.above(score_threshold), image_id=name)
                detections += result.to_coco()
                drawing = np.asarray(result.plot(display_threshold))
                save_image(drawing, os.path.join(output, f"{name}.jpg"))
                if pre_labels is not None:
                    pre_labels.add(result, image_ids[name])
    if sum(problem.is_loss for problem in problems) == len(files):
        lines = " ".join(problem_lines(problems))
        raise ValueError(f"none of {len(files)} images could be read; {lines}")
    write_json(detections, os.path.join(output, "detections.json"))
    return detections, problems


def num_reaching(
    detections: Sequence[dict], thresholds: DisplayThreshold, class_names: Sequence[str]
) -> int:
    """Returns how many COCO results have the score of their class, or more."""
    smallest = np.broadcast_to(np.asarray(thresholds, np.float32), len(class_names))
    by_class = dict(zip(class_names, smallest, strict=True))
    return sum(np.float32(one["score"]) >= by_class[one["category_name"]] for one in detections)


def unique_stems(files: Sequence[str]) -> dict[str, str]:
    """Returns file by name; the name is the stem, with a number where two files share it."""
    names: dict[str, str] = {}
    for path in files:
        stem = name = short_stem(os.path.splitext(os.path.basename(path))[0])
        number = 1
        while name in names:
            number += 1
            name = f"{stem}_{number}"
        names[name] = path
    return names


def _batches(
    image_ids: dict[str, str],
    batch_size: int,
    max_pixels: int,
    problems: list[Problem],
    bar: tqdm,
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Yields names and pixels of batches; what is wrong with images goes to `problems`."""
    names: list[str] = []
    images: list[np.ndarray] = []
    for name, path in image_ids.items():
        decoded = _read(path, max_pixels, problems)
        if decoded is not None:
            images.append(decoded.pixels)
            names.append(name)
        bar.update()
        if len(images) == batch_size:
            yield names, images
            names, images = [], []
    if images:
        yield names, images


def _read(path: str, max_pixels: int, problems: list[Problem]) -> DecodedImage | None:
    """Returns the pixels of a file, or None and a problem where it cannot be read."""
    try:
        decoded = decode_image_file(path, max_pixels)
    except OSError as error:
        problems.append(problem_of(error, path))
        return None
    except ValueError as error:
        problems.append(problem_of(image_error(error), path))
        return None
    if decoded.used_bits <= MAX_DARK_BITS:
        problems.append(Problem(ProblemKind.DARK, path, str(decoded.used_bits)))
    return decoded
