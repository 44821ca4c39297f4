"""Draws images of five shapes, to train and test a detector without any download.

Each image is a function of its split and index, so that all processes draw the same ones.
"""

import functools
import io
import math
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from ssd_keras.core.class_names import SHAPE_CLASSES
from ssd_keras.core.progress import bar_options
from ssd_keras.core.text import did_you_mean
from ssd_keras.data.readers.assemble import ReadOptions
from ssd_keras.data.records import Box, DetectionData, Example
from ssd_keras.data.unions import relabel

SPLIT_SIZES = {"train": 800, "val": 200, "test": 200}

SIDES = (200, 320)
SMALLEST_SHAPE = 24
LARGEST_SHAPE = 0.6  # of the image's shorter side
MAX_OBJECTS = 8
EMPTY_SHARE = 0.04  # of the images
MIN_VISIBLE = 0.6  # share of an object's pixels
MIN_CONTRAST = 110  # between a shape and its background, summed over the three colours
PLACEMENT_TRIES = 20
SUPERSAMPLING = 2
RIM = 0.8  # scale of the part within a shape's rim
MAX_ANGLE = math.radians(20)
PNG_EVERY = 10
JPEG_QUALITY = 90


def read_synthetic(name: str, split: str, options: ReadOptions) -> DetectionData:
    """Draws one split of the generated data; `train[:120]` is its first 120 images."""
    if name != "shapes":
        raise ValueError(
            f"unknown generated set '{name}'; expected shapes, as synthetic:shapes@train"
        )
    match = re.fullmatch(r"(\w+)(?:\[:(\d+)\])?", split)
    if match is None or match[1] not in SPLIT_SIZES:
        hint = did_you_mean(split, SPLIT_SIZES)
        choices = ", ".join(SPLIT_SIZES)
        raise ValueError(f"unknown split '{split}'; {hint}expected {choices}, or as train[:120]")
    size = SPLIT_SIZES[match[1]]
    count = int(match[2] or size)
    if not 1 <= count <= size:
        raise ValueError(f"split '{split}' has {count} images; expected 1 to {size}")
    indices = tqdm(range(count), "drawing images", leave=False, **bar_options(options.progress))
    examples = [draw_example(match[1], index) for index in indices]
    data = DetectionData(SHAPE_CLASSES, tuple(examples), licence="none needed: generated")
    return data if options.class_names is None else relabel(data, options.class_names)


@functools.lru_cache(maxsize=sum(SPLIT_SIZES.values()))
def draw_example(split: str, index: int) -> Example:
    """Draws one image of a split."""
    seed = [list(SPLIT_SIZES).index(split), index]
    # Two generators, so that colours rounded in another way on another machine move no box.
    random, painter = np.random.default_rng(seed).spawn(2)
    height, width = (int(side) for side in random.integers(*SIDES, size=2, endpoint=True))
    canvas = _draw_background(painter, height, width)
    boxes: list[Box] = []
    labels: list[int] = []
    owner = np.full((height, width), -1, np.int8)  # index of the object visible at each pixel
    pixel_counts: list[int] = []  # of each object, hidden ones included
    is_empty = random.random() < EMPTY_SHARE
    for _ in range(0 if is_empty else int(random.integers(1, MAX_OBJECTS, endpoint=True))):
        label = int(random.integers(len(SHAPE_CLASSES)))
        placed = _place_shape(random, label, owner, pixel_counts)
        if placed is not None:
            corner, mask, inner, box = placed
            _paint(painter, canvas, corner, mask, inner)
            boxes.append(box)
            labels.append(label)
    box_array = np.array(boxes, np.float64).reshape(-1, 4)
    return Example(
        image_id=f"{split}_{index:04d}",
        image=_encode(canvas, "PNG" if index % PNG_EVERY == PNG_EVERY - 1 else "JPEG"),
        height=height,
        width=width,
        boxes=box_array,
        labels=np.array(labels, np.int32),
        is_difficult=np.zeros(len(labels), bool),
        is_crowd=np.zeros(len(labels), bool),
        areas=box_array[:, 2] * box_array[:, 3],
    )


def _draw_background(random: np.random.Generator, height: int, width: int) -> Image.Image:
    """Draws a gradient between two colours, with stripes or soft blobs and noise over it."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    angle = random.uniform(0, 2 * math.pi)
    ramp = 0.5 + 0.35 * (x * math.cos(angle) + y * math.sin(angle))
    first, second = random.uniform(20, 235, size=(2, 3)).astype(np.float32)
    tint = random.uniform(-40, 40, size=3).astype(np.float32)
    if random.random() < 0.5:
        angle, waves = random.uniform(0, math.pi), random.uniform(4, 30)
        pattern = np.sin(waves * (x * math.cos(angle) + y * math.sin(angle)))
    else:
        coarse = random.uniform(-1, 1, size=random.integers(3, 9, size=2)).astype(np.float32)
        blobs = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        pattern = np.asarray(blobs)
    grain = random.integers(-128, 128, size=(height, width), dtype=np.int8)
    noise = grain * np.float32(random.uniform(0.02, 0.14))
    channels = zip(first, second, tint, strict=True)
    return _to_image([a + ramp * (b - a) + pattern * c + noise for a, b, c in channels])


def _place_shape(
    random: np.random.Generator, label: int, owner: np.ndarray, pixel_counts: list[int]
) -> tuple[tuple[int, int], Image.Image, Image.Image, Box] | None:
    """Places a shape where it hides no other too much; None where no try succeeds.

    Returns its left top corner, the mask of its coverage, the mask within its rim, and its box.
    """
    height, width = owner.shape
    largest = LARGEST_SHAPE * min(height, width)
    for _ in range(PLACEMENT_TRIES):
        # Uniform in the logarithm: as many small shapes as large ones.
        size = math.exp(random.uniform(math.log(SMALLEST_SHAPE), math.log(largest)))
        outline = _shape_outline(random, SHAPE_CLASSES[label], size)
        mask, inner, (x, y, box_width, box_height) = _rasterize(outline)
        left = int(random.integers(0, width - mask.width, endpoint=True))
        top = int(random.integers(0, height - mask.height, endpoint=True))
        window = (slice(top, top + mask.height), slice(left, left + mask.width))
        covered = np.asarray(mask) >= 128
        if _hides_too_much(owner, window, covered, pixel_counts):
            continue
        owner[window][covered] = len(pixel_counts)
        pixel_counts.append(int(covered.sum()))
        return (left, top), mask, inner, (left + x, top + y, box_width, box_height)
    return None


def _shape_outline(random: np.random.Generator, name: str, size: float) -> np.ndarray:
    """Returns corners [n, 2] as x, y in pixels, turned and stretched, longer side `size`."""
    if name == "square":
        points = _around(4, math.pi / 4)
    elif name == "triangle":
        points = _around(3, -math.pi / 2)
    elif name == "circle":
        points = _around(64, 0.0)
    elif name == "star":
        points = _around(10, -math.pi / 2) * np.where(np.arange(10) % 2, 0.42, 1.0)[:, None]
    else:
        arm = [(0.34, 1.0), (-0.34, 1.0), (-0.34, 0.34)]
        quarter_turns = [np.linalg.matrix_power([[0, -1], [1, 0]], turns) for turns in range(4)]
        points = np.concatenate([np.array(arm) @ turn.T for turn in quarter_turns])
    points = points * random.uniform(0.8, 1.0, size=2)
    angle = random.uniform(-MAX_ANGLE, MAX_ANGLE)
    cosine, sine = math.cos(angle), math.sin(angle)
    points = points @ np.array([[cosine, sine], [-sine, cosine]])
    points = points - points.min(axis=0)
    return points * (size / points.max())


def _around(count: int, start: float) -> np.ndarray:
    angles = start + np.arange(count) * (2 * math.pi / count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _rasterize(outline: np.ndarray) -> tuple[Image.Image, Image.Image, Box]:
    """Returns masks of the shape and of the part within its rim, and the tight box in them."""
    size = tuple(int(side) for side in np.ceil(outline.max(axis=0)) + 2)
    drawings = []
    for scale in (1.0, RIM):
        points = (outline - outline.mean(axis=0)) * scale + outline.mean(axis=0) + 1
        drawing = Image.new("L", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING))
        corners = [(float(x), float(y)) for x, y in points * SUPERSAMPLING - 0.5]
        ImageDraw.Draw(drawing).polygon(corners, fill=255)
        drawings.append(drawing)
    left, top, right, bottom = (edge / SUPERSAMPLING for edge in drawings[0].getbbox() or (0,) * 4)
    mask, inner = (drawing.reduce(SUPERSAMPLING) for drawing in drawings)
    return mask, inner, (left, top, right - left, bottom - top)


def _hides_too_much(
    owner: np.ndarray, window: tuple[slice, slice], covered: np.ndarray, pixel_counts: list[int]
) -> bool:
    """Whether any shape would keep less than `MIN_VISIBLE` of its pixels."""
    hidden = owner[window][covered]
    hidden = hidden[hidden >= 0]
    if not hidden.size:
        return False
    visible = np.bincount(owner[owner >= 0], minlength=len(pixel_counts))
    visible = visible - np.bincount(hidden, minlength=len(pixel_counts))
    return bool(np.any(visible < MIN_VISIBLE * np.array(pixel_counts)))


def _paint(
    random: np.random.Generator,
    canvas: Image.Image,
    corner: tuple[int, int],
    mask: Image.Image,
    inner: Image.Image,
) -> None:
    """Fills a shape with a colour that contrasts with its background; half get a darker or
    lighter rim."""
    area = (*corner, corner[0] + mask.width, corner[1] + mask.height)
    below = np.asarray(canvas.crop(area).resize((1, 1), Image.Resampling.BOX), int)[0, 0]
    colour = random.integers(0, 256, size=3)
    while np.abs(colour - below).sum() < MIN_CONTRAST:
        colour = random.integers(0, 256, size=3)
    if random.random() < 0.5:
        rim = colour * 0.4 if colour.sum() > 300 else 255 - (255 - colour) * 0.4
        canvas.paste(tuple(int(value) for value in rim), area, mask)
        mask = inner
    grain = random.integers(-128, 128, size=(mask.height, mask.width), dtype=np.int8)
    shade = np.linspace(-1, 1, mask.height, dtype=np.float32)[:, None]
    texture = grain * np.float32(0.08) + shade * np.float32(random.uniform(-25, 25))
    canvas.paste(_to_image([texture + np.float32(value) for value in colour]), area, mask)


def _to_image(channels: Sequence[np.ndarray]) -> Image.Image:
    planes = [np.clip(channel, 0, 255).astype(np.uint8) for channel in channels]
    return Image.merge("RGB", [Image.fromarray(plane) for plane in planes])


def _encode(canvas: Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    canvas.save(buffer, format, quality=JPEG_QUALITY, compress_level=1)
    return buffer.getvalue()
