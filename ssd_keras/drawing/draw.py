"""Draws boxes into images."""

import colorsys
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.core.files import replacing
from ssd_keras.drawing.fonts import TextFont, shortened, warn_of_missing

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom; the last pixels belong to it

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (200, 0, 0)


def class_colors(num_classes: int) -> np.ndarray:
    """Returns a colour for each class, uint8 [n, 3], that does not depend on their number."""
    colors = []
    for label in range(num_classes):
        # The golden ratio puts every new hue into the widest gap; three shades separate neighbours.
        hue = (0.02 + label * (math.sqrt(5) - 1) / 2) % 1.0
        lightness, saturation = ((0.52, 0.95), (0.70, 0.85), (0.36, 0.80))[label % 3]
        colors.append(colorsys.hls_to_rgb(hue, lightness, saturation))
    return np.round(255 * np.array(colors).reshape(-1, 3)).astype(np.uint8)


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    *,
    display_threshold: float = 0.0,
    line_width: int | None = None,
    font_size: int | None = None,
) -> np.ndarray:
    """Returns a copy of the image with boxes and tags such as "dog 0.87".

    Lines have the colour of the class between a dark outer and a light inner casing. Tags stay
    inside the image and move aside for those of higher scores, which are also drawn last.

    Args:
        image: uint8 [height, width, 3], RGB.
        boxes: [n, 4], relative yxyx; parts outside 0..1 are cut off.
        labels: int [n], 0-based; rows of label -1 (padding) are left out. Default None: one colour.
        scores: [n], 0..1, written into the tags. Default None: no scores.
        class_names: names by label. Default None: the numbers of the labels.
        display_threshold: boxes of lower scores are left out, 0..1. Default 0.
        line_width: pixels. Default None: by the size of the image.
        font_size: pixels. Default None: by the size of the image.

    Returns:
        uint8 [height, width, 3].

    Raises:
        ValueError: the shapes do not match, or a label has no name.

    Example:
        >>> black = np.zeros((100, 100, 3), np.uint8)
        >>> int(draw_boxes(black, np.array([[0.2, 0.2, 0.8, 0.8]]), [0], [0.9], ["dog"]).max())
        255
    """
    canvas = Image.fromarray(checked_image(image))
    boxes, labels, texts, order = _checked_boxes(
        boxes, labels, scores, class_names, display_threshold
    )
    side = math.sqrt(canvas.width * canvas.height)
    line = max(2, round(side / 250)) if line_width is None else line_width
    font = TextFont(max(12, round(side / 32)) if font_size is None else font_size)
    colors = [tuple(color) for color in class_colors(labels.max(initial=0) + 1).tolist()]
    rectangles = {i: pixels for i in order if (pixels := _pixels(boxes[i], canvas.size))}
    draw = ImageDraw.Draw(canvas)
    for index, rectangle in rectangles.items():
        _draw_outline(draw, rectangle, colors[labels[index]], line)
    tags: dict[int, tuple[Rectangle, str]] = {}
    for index in reversed(rectangles):  # by falling score
        occupied = [tag for tag, _ in tags.values()]
        if tag := _place_tag(texts[index], font, rectangles[index], canvas.size, occupied):
            tags[index] = tag
    for index in reversed(tags):
        (left, top, right, bottom), text = tags[index]
        ink = text_color(colors[labels[index]])
        draw.rectangle((left, top, right, bottom), fill=colors[labels[index]], outline=ink)
        corner = ((left + right + 1 - font.width(text)) / 2, (top + bottom + 1 - font.height) / 2)
        font.draw(draw, corner, text, fill=ink)
    return np.array(canvas)


def draw_training_example(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    default_boxes: np.ndarray,
    matched_mask: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Returns the image with its ground truth and the default boxes that are matched to it.

    Matched default boxes are thin, translucent lines in the colour of the object of best IoU.
    """
    canvas = Image.fromarray(checked_image(image))
    default_boxes, matched_mask = np.asarray(default_boxes), np.asarray(matched_mask, bool)
    if default_boxes.shape != (*matched_mask.shape, 4):
        raise ValueError(
            f"default_boxes have shape {default_boxes.shape} and matched_mask "
            f"{matched_mask.shape}; expected [N, 4] and [N]; give one flag for each default box"
        )
    truth, truth_labels, _, rows = _checked_boxes(boxes, labels, None, class_names, 0.0)
    if rows:
        matched = default_boxes[matched_mask]
        best = np.asarray(rows)[np.argmax(pairwise_iou(matched, truth[rows]), axis=1)]
        colors = class_colors(int(truth_labels.max()) + 1).tolist()
        draw = ImageDraw.Draw(canvas, "RGBA")  # this mode blends by the fourth number
        for box, index in zip(matched, best, strict=True):
            if rectangle := _pixels(box, canvas.size):
                draw.rectangle(rectangle, outline=(*colors[truth_labels[index]], 150))
    return draw_boxes(np.array(canvas), boxes, labels, class_names=class_names)


def draw_missed(image: np.ndarray, boxes: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns a copy of the image with dashed boxes [n, 4], relative yxyx, and "missed NAME"."""
    # Below the box: the tags of detections are above theirs.
    return _draw_dashed(image, boxes, [f"missed {name}" for name in names], BLACK, below=True)


def draw_false(
    image: np.ndarray, boxes: np.ndarray, names: Sequence[str], scores: np.ndarray
) -> np.ndarray:
    """Returns a copy of the image with red dashed boxes, relative yxyx, and "false NAME 0.87"."""
    tags = [f"false {name} {score:.2f}" for name, score in zip(names, scores, strict=True)]
    return _draw_dashed(image, boxes, tags, RED, below=False)


def _draw_dashed(
    image: np.ndarray, boxes: np.ndarray, tags: Sequence[str], color: Color, below: bool
) -> np.ndarray:
    """Returns a copy of the image with boxes dashed in white and a colour, and their tags."""
    canvas = Image.fromarray(checked_image(image))
    draw = ImageDraw.Draw(canvas)
    side = math.sqrt(canvas.width * canvas.height)
    line, font = max(2, round(side / 250)), TextFont(max(12, round(side / 32)))
    for box, text in zip(boxes, tags, strict=True):
        if rectangle := _pixels(box, canvas.size):
            _draw_dashes(draw, rectangle, line, color)
            width, height = math.ceil(font.width(text)) + 4, font.height + 2
            left = max(0, min(rectangle[0], canvas.width - width))
            top = rectangle[3] + 1 if below else rectangle[1] - height
            top = max(0, min(top, canvas.height - height))
            tag = (left, top, left + width - 1, top + height - 1)
            draw.rectangle(tag, fill=WHITE, outline=color)
            font.draw(draw, (left + 2, top + 1), text, fill=color)
    return np.array(canvas)


def _draw_dashes(draw: ImageDraw.ImageDraw, box: Rectangle, line: int, color: Color) -> None:
    """Draws an outline of white dashes and dark ones, one of which stands out anywhere."""
    x0, y0, x1, y1 = box
    draw.rectangle(box, outline=color, width=line)
    dash = 3 * line
    for x in range(x0, x1 + 1, 2 * dash):
        for y in (y0, y1 - line + 1):
            draw.rectangle((x, y, min(x + dash - 1, x1), y + line - 1), fill=WHITE)
    for y in range(y0, y1 + 1, 2 * dash):
        for x in (x0, x1 - line + 1):
            draw.rectangle((x, y, x + line - 1, min(y + dash - 1, y1)), fill=WHITE)


def save_image(image: np.ndarray, path: str | Path) -> None:
    """Writes an image under a temporary name and moves it to the path when it is whole."""
    extension = Path(path).suffix.lower()
    if extension not in (".png", ".jpg", ".jpeg"):
        raise ValueError(
            f"{path}: images cannot be written as {extension or 'a file without extension'!r}; "
            "expected .png, .jpg or .jpeg; rename the file"
        )
    canvas = Image.fromarray(checked_image(image))
    # Without chroma subsampling: it smears thin coloured lines.
    options = {"format": "PNG"} if extension == ".png" else {"format": "JPEG", "subsampling": 0}
    write_whole(path, lambda file: canvas.save(file, quality=92, **options))


def write_whole(path: str | Path, write: Callable[[Any], Any]) -> None:
    """Writes a file with `write(file)`, under a temporary name until it is whole."""
    with replacing(str(path)) as beside, open(beside, "wb") as file:
        write(file)


def checked_image(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            f"image is {image.dtype} of shape {image.shape}; expected uint8 [height, width, 3], "
            "not empty; convert it to RGB in 0..255"
        )
    return np.ascontiguousarray(image)


def _checked_boxes(
    boxes: Any,
    labels: Any,
    scores: Any,
    class_names: Sequence[str] | None,
    display_threshold: float,
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]], list[int]]:
    """Returns boxes, labels, names and scores of tags, and the rows to draw by rising score."""
    boxes = np.asarray(boxes, np.float64)
    boxes = boxes if boxes.size else boxes.reshape(-1, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(
            f"boxes have shape {boxes.shape}; expected finite relative yxyx [n, 4]; correct them"
        )
    for name, values in (("labels", labels), ("scores", scores)):
        if values is not None and np.shape(values) != (len(boxes),):
            raise ValueError(
                f"{name} have shape {np.shape(values)} beside {len(boxes)} boxes; expected "
                f"({len(boxes)},); give one for each box"
            )
    numbers = np.zeros(len(boxes), int) if labels is None else np.asarray(labels).astype(int)
    if class_names is not None and numbers.max(initial=-1) >= len(class_names):
        raise ValueError(
            f"label {numbers.max()} has no name among {len(class_names)} class_names; expected "
            "labels from 0, without background; pass the names of the model's own classes"
        )
    if class_names is not None:
        warn_of_missing(tuple(class_names))
    texts = []
    for index, label in enumerate(numbers):
        name = "" if labels is None else class_names[label] if class_names else str(label)
        texts.append((name, "" if scores is None else f"{scores[index]:.2f}"))
    ranks = np.zeros(len(boxes)) if scores is None else np.asarray(scores)
    order = np.argsort(ranks, kind="stable")
    rows = [i for i in order if numbers[i] >= 0 and ranks[i] >= display_threshold]
    return boxes, numbers, texts, rows


def _pixels(box: np.ndarray, size: tuple[int, int]) -> Rectangle | None:
    """Returns the pixels of a relative yxyx box in an image of (width, height), None if empty."""
    top, left, bottom, right = np.clip(box, 0.0, 1.0) * [size[1], size[0], size[1], size[0]]
    if right <= left or bottom <= top:
        return None
    x, y = min(int(left), size[0] - 1), min(int(top), size[1] - 1)
    return x, y, max(x, math.ceil(right) - 1), max(y, math.ceil(bottom) - 1)


def _draw_outline(draw: ImageDraw.ImageDraw, box: Rectangle, color: Color, line: int) -> None:
    casing = max(1, line // 3)
    # From the dark ring outside to the light ring inside: one of the two stands out anywhere.
    for inset, width, ring in ((-casing, casing, BLACK), (line, casing, WHITE), (0, line, color)):
        x0, y0, x1, y1 = box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset
        if x0 <= x1 and y0 <= y1:
            draw.rectangle((x0, y0, x1, y1), outline=ring, width=width)


def _place_tag(
    words: tuple[str, str],
    font: TextFont,
    box: Rectangle,
    size: tuple[int, int],
    occupied: Sequence[Rectangle],
) -> tuple[Rectangle, str] | None:
    """Returns the rectangle of a box's tag inside the image and its text, None without room."""
    pad = max(2, font.size // 6)
    name, score = words
    # A long name may be as wide as its box or half of the image; the score stays whole.
    room = min(size[0], max(box[2] - box[0], size[0] // 2, 10 * font.size)) - 2 * pad
    name = shortened(name, font, room - font.width(f" {score}" if score else ""))
    text = shortened(f"{name} {score}", font, size[0] - 2 * pad)
    width, height = math.ceil(font.width(text)) + 2 * pad, font.height + pad
    if not text or width > size[0] or height > size[1]:
        return None
    x0, y0, x1, y1 = box
    corners = [(x0, y0 - height), (x0, y0), (x0, y1 + 1), (x1 - width, y0 - height)]
    corners += [(x0, y1 - height), (x1 + 1, y0), (x1 - width, y1 + 1)]
    candidates = []
    for x, y in corners:
        x, y = min(max(x, 0), size[0] - width), min(max(y, 0), size[1] - height)
        candidates.append((x, y, x + width - 1, y + height - 1))
    return min(candidates, key=lambda c: sum(_shared_pixels(c, other) for other in occupied)), text


def _shared_pixels(a: Rectangle, b: Rectangle) -> int:
    width, height = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    return max(0, width) * max(0, height)


def text_color(color: Sequence[int]) -> Color:
    """Returns black or white, the one of higher contrast: at least 4.58 on any colour."""
    parts = [channel / 255 for channel in color]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # WCAG 2
    return BLACK if (luminance + 0.05) ** 2 > 1.05 * 0.05 else WHITE
