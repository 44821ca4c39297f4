"""Likeness of images: correlation of their thumbnails, each image compared with each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ssd_keras.core.images import to_rgb, turned
from ssd_keras.core.progress import bar_options
from ssd_keras.data.records import Example

SIDE = 32
# Copies of another size, compression or brightness correlate at .95 or more, images of other
# things below .9. Thumbnails by another filter would correlate .01 less to .03 more than these.
MIN_CORRELATION = 0.915
# Uneven light makes images of other things alike: their details, which are all but the lowest
# 3 x 3 frequencies, must correlate too.
LOW_FREQUENCIES = 3
MIN_DETAIL_CORRELATION = 0.7
MIN_CONTRAST = 2.0  # standard deviation of the details in grey levels; there is only noise below
# In front of one background, objects at other places make another image.
MIN_OBJECT_CORRELATION = 0.25  # of what stands out from its surroundings
SURROUNDINGS = 3  # cells of a thumbnail to each side
COARSE_FREQUENCIES = 8  # they rule out most pairs
TILE = 1024  # images that one matrix product compares with as many others
MAX_PARTNERS = 32  # of an image in a tile: enough to connect the frames of a camera that stands
CHUNK = 1024  # pairs whose objects are compared at once


class Thumbnail(NamedTuple):
    """A small copy of an image, and where its objects lie."""

    pixels: np.ndarray  # uint8 [32, 32, 3]
    objects: np.ndarray  # uint8 [128], bits of bool [32, 32]


class Likeness(NamedTuple):
    """Pairs of images that look alike, first row before later row, and their correlations."""

    pairs: np.ndarray  # int64 [p, 2]
    correlations: np.ndarray  # float32 [p]


def make_thumbnail(image: Image.Image, example: Example) -> Thumbnail:
    """Returns the thumbnail of an image, upright as its objects are annotated."""
    small = to_rgb(image).resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(turned(small, example.orientation))
    return Thumbnail(pixels, np.packbits(_object_cells(example)))


def alike_pairs(thumbnails: Sequence[Thumbnail], progress: bool = False) -> Likeness:
    """Returns the pairs whose thumbnails, and what they show of objects, correlate."""
    pixels = np.array([each.pixels for each in thumbnails], np.uint8).reshape(-1, SIDE, SIDE, 3)
    objects = np.array([each.objects for each in thumbnails], np.uint8).reshape(-1, SIDE**2 // 8)
    starts = range(0, len(pixels), TILE)
    coarse = [coarse_vectors(pixels[start : start + TILE]) for start in starts]
    combinations = [(i, j) for i in range(len(starts)) for j in range(i, len(starts))]
    found = [Likeness(np.zeros((0, 2), np.int64), np.zeros(0, np.float32))]
    for i, j in tqdm(combinations, "comparing images", leave=False, **bar_options(progress)):
        is_candidate = coarse[i] @ coarse[j].T >= MIN_CORRELATION
        if i == j:
            is_candidate = np.triu(is_candidate, k=1)
        rows, columns = (np.flatnonzero(is_candidate.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        first, later = starts[i] + rows, starts[j] + columns
        correlations, is_alike = correlate(pixels[first], pixels[later])
        row, column = np.nonzero(is_alike & is_candidate[np.ix_(rows, columns)])
        is_kept = np.arange(len(row)) - np.searchsorted(row, row) < MAX_PARTNERS
        row, column = row[is_kept], column[is_kept]
        pairs = np.stack([first[row], later[column]], axis=1)
        contrasts = local_contrast(pixels[first]), local_contrast(pixels[later])
        agree = np.zeros(len(pairs), bool)
        for begin in range(0, len(pairs), CHUNK):
            chunk = slice(begin, begin + CHUNK)
            shown = contrasts[0][row[chunk]], contrasts[1][column[chunk]]
            agree[chunk] = objects_agree(*shown, objects[pairs[chunk]])
        found.append(Likeness(pairs[agree], correlations[row, column][agree]))
    return Likeness(*map(np.concatenate, zip(*found, strict=True)))


def neighbour_correlation(thumbnails: Sequence[Thumbnail]) -> float:
    """Returns the median correlation of consecutive images, such as frames of a video."""
    whole, _ = _unit_vectors(np.stack([each.pixels for each in thumbnails[:TILE]]))
    return float(np.median(np.sum(whole[1:] * whole[:-1], axis=(1, 2, 3))))


def coarse_vectors(pixels: np.ndarray) -> np.ndarray:
    """Returns vectors, float32 [n, 193], whose products are at least the correlations.

    They are the lowest frequencies of vectors of length 1, and the length of the rest: what the
    rest adds to a product is at most the product of its lengths (Cauchy and Schwarz).
    """
    waves = _waves(COARSE_FREQUENCIES)
    whole, _ = _unit_vectors(pixels)
    low = np.einsum("nyxc,ay,bx->nabc", whole, waves, waves, optimize=True).reshape(len(whole), -1)
    rest = np.sum(whole**2, axis=(1, 2, 3)) - np.sum(low**2, axis=1)
    rest = np.sqrt(np.maximum(rest, 0))[:, None] + 1e-3  # rounding
    return np.concatenate([low, rest], axis=1)


def correlate(pixels: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the correlations of thumbnails with others, [n, m], and which look alike."""
    (whole, detail), (other_whole, other_detail) = map(_unit_vectors, (pixels, others))
    correlations = _products(whole, other_whole)
    is_alike = correlations >= MIN_CORRELATION
    if is_alike.any():
        is_alike &= _products(detail, other_detail) >= MIN_DETAIL_CORRELATION
    return correlations, is_alike


def local_contrast(pixels: np.ndarray) -> np.ndarray:
    """Returns how thumbnails differ from their surroundings, float32 [n, 32, 32, 3]."""
    cells = np.arange(SIDE)
    is_near = (np.abs(cells[:, None] - cells) <= SURROUNDINGS).astype(np.float32)
    mean = is_near / is_near.sum(axis=1, keepdims=True)
    values = pixels.astype(np.float32)
    return values - np.einsum("nyxc,ay,bx->nabc", values, mean, mean, optimize=True)


def objects_agree(first: np.ndarray, second: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Returns which pairs look alike where either image has an object, bool [p].

    Takes local contrasts, [p, 32, 32, 3] twice, and the bits of the objects' cells, [p, 2, 128].
    """
    is_object = np.unpackbits(objects[:, 0] | objects[:, 1], axis=1)
    first, second = (
        values.reshape(len(values), SIDE**2, 3) * is_object[..., None] for values in (first, second)
    )
    squares, other_squares, products = (
        np.einsum("pic,pic->p", values, others)
        for values, others in ((first, first), (second, second), (first, second))
    )
    correlate = products >= MIN_OBJECT_CORRELATION * np.sqrt(squares * other_squares)
    # Plain objects correlate at random: they differ where the difference is more than noise.
    noise = 3 * is_object.sum(axis=1) * (2 * MIN_CONTRAST) ** 2
    return correlate | (squares + other_squares - 2 * products <= noise)


def _unit_vectors(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns thumbnails and their details as vectors of length 1, [n, 32, 32, 3]; 0 if flat."""
    whole = pixels.astype(np.float32)
    whole -= whole.mean(axis=(1, 2), keepdims=True)  # of each colour: a tint is no likeness
    waves = _waves(LOW_FREQUENCIES)
    low = np.einsum("nyxc,ay,bx->nabc", whole, waves, waves, optimize=True)
    detail = whole - np.einsum("nabc,ay,bx->nyxc", low, waves, waves, optimize=True)
    is_flat = detail.std(axis=(1, 2, 3)) < MIN_CONTRAST
    for vectors in (whole, detail):
        length = np.sqrt(np.sum(vectors**2, axis=(1, 2, 3), keepdims=True))
        vectors /= np.maximum(length, 1e-6)
        vectors[is_flat] = 0
    return whole, detail


def _products(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.tensordot(vectors, others, axes=([1, 2, 3], [1, 2, 3]))


def _waves(count: int) -> np.ndarray:
    """Returns the lowest cosines across a thumbnail, each of length 1, float32 [count, 32]."""
    centers = (np.arange(SIDE) + 0.5) / SIDE
    waves = np.cos(np.pi * np.outer(np.arange(count), centers))
    return (waves / np.linalg.norm(waves, axis=1, keepdims=True)).astype(np.float32)


def _object_cells(example: Example) -> np.ndarray:
    """Returns the cells of a thumbnail that the objects touch, bool [32, 32]."""
    cells = np.zeros((SIDE, SIDE), bool)
    boxes = example.relative_boxes() * SIDE
    begins, ends = np.floor(boxes[:, :2]).astype(int), np.ceil(boxes[:, 2:]).astype(int)
    for (top, left), (bottom, right) in zip(begins, ends, strict=True):
        cells[top:bottom, left:right] = True
    return cells
