"""Detects objects in image files: writes annotated images and detections.json."""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm.auto import tqdm

from ssd_keras.core.files import check_writable
from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.core.images import read_image
from ssd_keras.drawing.draw import save_image
from ssd_keras.engine.detector import Detector, detect_several
from ssd_keras.engine.evaluate import write_json


def find_images(paths: Sequence[str]) -> list[str]:
    """Returns the image files among files and folders; of a folder its files by name."""
    found: dict[str, None] = {}
    for path in paths:
        if os.path.isdir(path):
            names = sorted(n for n in os.listdir(path) if n.lower().endswith(IMAGE_EXTENSIONS))
            if not names:
                raise ValueError(
                    f"directory {path!r} holds no image; expected files that end in "
                    f"{', '.join(IMAGE_EXTENSIONS)}."
                )
            found.update({os.path.join(path, name): None for name in names})
        elif os.path.isfile(path):
            found[path] = None
        else:
            raise FileNotFoundError(f"image {path!r} does not exist; pass a file or a folder.")
    return list(found)


def predict(
    detector: Detector,
    paths: Sequence[str],
    output: str,
    *,
    score_threshold: float = 0.0,
    display_threshold: float = 0.5,
    batch_size: int = 8,
    progress: bool = False,
) -> tuple[list[dict], list[str]]:
    """Detects objects in image files; writes drawings and `detections.json`.

    Returns COCO results, and a line for each image that cannot be read. A detection below
    `score_threshold` is dropped, one below `display_threshold` is not drawn.
    """
    files = find_images(paths)
    for path in files:
        if os.path.realpath(output) == os.path.realpath(os.path.dirname(path)):
            raise ValueError(
                f"output {output!r} holds the image {os.path.basename(path)!r}, which a drawing "
                "might overwrite; choose another directory."
            )
    check_writable(output, is_folder=True)
    image_ids = unique_stems(files)
    detections: list[dict] = []
    problems: list[str] = []
    with tqdm(total=len(files), desc="predicting", unit="image", disable=not progress) as bar:
        for names, images in _batches(image_ids, batch_size, problems, bar):
            for name, result in zip(
                names, detect_several(detector, images, batch_size), strict=True
            ):
                result = dataclasses.replace(result.above(score_threshold), image_id=name)
                detections += result.to_coco()
                drawing = np.asarray(result.plot(display_threshold))
                save_image(drawing, os.path.join(output, f"{name}.jpg"))
    if len(problems) == len(files):
        raise ValueError(f"none of {len(files)} images could be read; first: {problems[0]}")
    write_json(detections, os.path.join(output, "detections.json"))
    return detections, problems


def unique_stems(files: Sequence[str]) -> dict[str, str]:
    """Returns file by name; the name is the stem, with a number where two files share it."""
    names: dict[str, str] = {}
    for path in files:
        stem = name = os.path.splitext(os.path.basename(path))[0]
        number = 1
        while name in names:
            number += 1
            name = f"{stem}_{number}"
        names[name] = path
    return names


def _batches(
    image_ids: dict[str, str], batch_size: int, problems: list[str], bar: tqdm
) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Yields names and pixels of batches; unreadable images go to `problems`."""
    names: list[str] = []
    images: list[np.ndarray] = []
    for name, path in image_ids.items():
        try:
            images.append(read_image(path))
            names.append(name)
        except ValueError as error:
            problems.append(f"{error}; dropped")
        bar.update()
        if len(images) == batch_size:
            yield names, images
            names, images = [], []
    if images:
        yield names, images
