"""What the clients share: their arguments, images, the line for each image, the drawing.

It needs Pillow alone. Boxes are left, top, right, bottom in pixels of the upright image.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

IMAGES_OF_A_CALL = 8
COLORS = ("#e6194b", "#0082c8", "#3cb44b", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


@dataclasses.dataclass(frozen=True)
class Image:
    """An image file: its bytes as they are, and its pixels, RGB and upright."""

    path: str
    content: bytes
    image: Image.Image


@dataclasses.dataclass(frozen=True)
class Detection:
    """One object: its class, its score 0..1 and its box."""

    label: str
    score: float
    box: tuple[float, float, float, float]


# Of several images, their detections; None where the model could not read an image.
Detector = Callable[[Sequence[Image]], Sequence[Sequence[Detection] | None]]


def main(
    description: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    connect: Callable[[argparse.Namespace], contextlib.AbstractContextManager[Detector]],
) -> int:
    """Runs a client.

    Args:
        description: what it does, for --help.
        add_arguments: adds its own arguments.
        connect: opens the detector of the parsed arguments, in a `with` statement.

    Returns:
        exit status: 0, or 2 where something failed, with a line for each failure.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("images", nargs="+", help="image files")
    add_arguments(parser)
    parser.add_argument("--min-score", type=float, default=0.5, help="default 0.5")
    parser.add_argument("--draw", metavar="FILE", help="draw the boxes of one image")
    parsed = parser.parse_args()
    if parsed.draw and len(parsed.images) > 1:
        parser.error("--draw takes one image")
    try:
        return _run(parsed, connect)
    except (ValueError, OSError, ImportError) as error:
        return fail(error)


def add_server_arguments(parser: argparse.ArgumentParser, server: str) -> None:
    """Where the server is; `server` is the default."""
    parser.add_argument("--server", default=server, help="default %(default)s")
    parser.add_argument("--model", default="detector", help="its name there; default %(default)s")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds; default 60")


def fail(error: object) -> int:
    """Prints one line that says what is wrong; the exit status."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def read_image(path: str) -> Image:
    """Reads an image file, turned upright as its EXIF data say; a ValueError names a bad one."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        return Image(path, content, image.convert("RGB"))
    except FileNotFoundError:
        raise ValueError(f"image {path!r} does not exist") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path!r} is no image") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path!r} cannot be read as an image: {error}") from error


def to_pixels(box: Sequence[float], image: Image.Image) -> tuple[float, float, float, float]:
    """A relative box (top, left, bottom, right) in pixels (left, top, right, bottom)."""
    top, left, bottom, right = (float(value) for value in box)
    return left * image.width, top * image.height, right * image.width, bottom * image.height


def draw(image: Image.Image, detections: Sequence[Detection], path: str) -> None:
    """Writes an image with boxes, labels and scores; each class has its colour."""
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
def quiet() -> Iterator[None]:
    """Silences the greetings that compiled libraries print to the standard error."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _run(parsed, connect):
    """Reads, detects and prints; an image that cannot be read is told and left out."""
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
        for start in range(0, len(images), IMAGES_OF_A_CALL):
            part = images[start : start + IMAGES_OF_A_CALL]
            for image, found in zip(part, detect(part), strict=True):
                status = _show(image, found, parsed) or status
    return status


def _show(image, found, parsed):
    """Prints one image's line and draws it; the exit status."""
    if found is None:
        return fail(f"{image.path!r} could not be decoded there; send JPEG, PNG, BMP or GIF")
    kept = [detection for detection in found if detection.score >= parsed.display_threshold]
    print(_line(image, kept), flush=True)
    if parsed.draw:
        draw(image.image, kept, parsed.draw)
    return 0


def _line(image, detections):
    found = [
        {
            "label": detection.label,
            "score": round(float(detection.score), 4),
            "box": [round(float(value), 2) for value in detection.box],
        }
        for detection in detections
    ]
    size = {"width": image.image.width, "height": image.image.height}
    return json.dumps({"image": image.path, **size, "detections": found}, ensure_ascii=False)
