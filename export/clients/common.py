"""Code that the clients share: arguments, images, output lines, drawings.

It needs Pillow, and NumPy for models in files. Boxes are left, top, right, bottom in pixels of the
upright image.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

BATCH_SIZE = 8
COLORS = ("#e6194b", "#0082c8", "#3cb44b", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file: its bytes, and its pixels, RGB and upright."""

    path: str
    content: bytes
    image: Image.Image


@dataclasses.dataclass(frozen=True)
class Detection:
    """One object: its class, its score 0..1 and its box."""

    label: str
    score: float
    box: tuple[float, float, float, float]


# Returns the detections of each image; None for an image that the model could not read.
Detector = Callable[[Sequence[ImageFile]], Sequence[Sequence[Detection] | None]]


def main(
    description: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    connect: Callable[[argparse.Namespace], contextlib.AbstractContextManager[Detector]],
) -> int:
    """Runs a client and returns its exit status: 0, or 2 with a line for each failure.

    `add_arguments` adds the client's arguments; `connect` opens a detector in a `with` statement.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("images", nargs="+", help="image files")
    add_arguments(parser)
    parser.add_argument(
        "--display-threshold", type=float, default=0.5, help="smallest score to print; default 0.5"
    )
    parser.add_argument("--draw", metavar="FILE", help="draw the boxes of one image to a file")
    parsed = parser.parse_args()
    if parsed.draw and len(parsed.images) > 1:
        parser.error("--draw takes one image")
    try:
        return _run(parsed, connect)
    except (ValueError, OSError, ImportError) as error:
        return fail(error)


def add_server_arguments(parser: argparse.ArgumentParser, server: str) -> None:
    """Adds the address of a server, by default `server`, and the model's name there."""
    parser.add_argument("--server", default=server, help="default %(default)s")
    parser.add_argument("--model", default="detector", help="its name there; default %(default)s")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds; default 60")


def fail(error: object) -> int:
    """Prints an error as one line and returns the exit status."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def read_image(path: str) -> ImageFile:
    """Reads an image file and turns it upright by its EXIF orientation."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        return ImageFile(path, content, image.convert("RGB"))
    except FileNotFoundError:
        raise ValueError(f"image {path!r} does not exist") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path!r} is not an image") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path!r} cannot be read as an image: {error}") from error


def to_pixels(box: Sequence[float], image: Image.Image) -> tuple[float, float, float, float]:
    """Converts a relative box (top, left, bottom, right) to pixels (left, top, right, bottom)."""
    top, left, bottom, right = (float(value) for value in box)
    return left * image.width, top * image.height, right * image.width, bottom * image.height


def resized(image: Image.Image, width: int, height: int, dtype: Any) -> Any:
    """Resizes an image as in training, to an array [1, height, width, 3] of 0..255.

    Bilinear at half-pixel centres, without keeping the shape. Pillow's `resize` would smooth too.
    """
    import numpy as np

    scale = (image.width / width, 0, 0, 0, image.height / height, 0)
    small = image.transform((width, height), Image.Transform.AFFINE, scale, Image.BILINEAR)
    return np.asarray(small, dtype)[None]


def detections_of(outputs: Mapping, image: ImageFile, labels: Sequence[str]) -> list[Detection]:
    """Returns the detections in the used slots of a file's outputs; the other slots are zero."""
    return [
        Detection(
            labels[int(outputs["detection_classes"][0, slot])],
            outputs["detection_scores"][0, slot],
            to_pixels(outputs["detection_boxes"][0, slot], image.image),
        )
        for slot in range(int(outputs["num_detections"][0]))
    ]


def draw(image: Image.Image, detections: Sequence[Detection], path: str) -> None:
    """Writes an image with boxes, labels and scores, one colour for each class."""
    drawing = image.copy()
    pen = ImageDraw.Draw(drawing)
    width = max(2, round(min(image.size) / 200))
    font = ImageFont.load_default(size=max(10, min(image.size) // 32))
    labels = sorted({detection.label for detection in detections})
    for detection in reversed(detections):  # the best on top
        color = COLORS[labels.index(detection.label) % len(COLORS)]
        left, top, right, bottom = detection.box
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=width)
        text = f"{detection.label} {detection.score:.2f}"
        text_box = pen.textbbox((0, 0), text, font=font)
        corner = (max(left, 0), max(top - text_box[3] - 2, 0))
        pen.rectangle((*corner, corner[0] + text_box[2] + 4, corner[1] + text_box[3] + 2), color)
        pen.text((corner[0] + 2, corner[1]), text, fill="white", font=font)
    drawing.save(path)


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Suppresses messages that native libraries write to stderr."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as devnull:
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _run(parsed: argparse.Namespace, connect: Callable) -> int:
    """Reads, detects and prints; reports and skips images that cannot be read."""
    status = 0
    images = []
    for path in parsed.images:
        try:
            images.append(read_image(path))
        except ValueError as error:
            status = fail(error)
    if not images:
        return status
    with connect(parsed) as detect:
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            for image, detections in zip(batch, detect(batch), strict=True):
                status = _show(image, detections, parsed) or status
    return status


def _show(
    image: ImageFile, detections: Sequence[Detection] | None, parsed: argparse.Namespace
) -> int:
    """Prints one image's line, draws the image and returns the exit status."""
    if detections is None:
        return fail(f"the server cannot decode {image.path!r}; send JPEG, PNG, BMP or GIF")
    shown = [detection for detection in detections if detection.score >= parsed.display_threshold]
    print(_line(image, shown), flush=True)
    if parsed.draw:
        draw(image.image, shown, parsed.draw)
    return 0


def _line(image: ImageFile, detections: Sequence[Detection]) -> str:
    rows = [
        {
            "label": detection.label,
            "score": round(float(detection.score), 4),
            "box": [round(float(value), 2) for value in detection.box],
        }
        for detection in detections
    ]
    size = {"width": image.image.width, "height": image.image.height}
    return json.dumps({"image": image.path, **size, "detections": rows}, ensure_ascii=False)
