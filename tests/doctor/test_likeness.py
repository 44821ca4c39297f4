"""Images that look alike: pairs found, against correlations computed by NumPy alone."""

import io
from dataclasses import replace

import numpy as np
import pytest
from example_records import encoded, example, textured
from PIL import Image, ImageDraw, ImageFilter

from ssd_keras.core.images import turned
from ssd_keras.doctor import likeness
from ssd_keras.doctor.likeness import (
    Thumbnail,
    alike_pairs,
    coarse_vectors,
    local_contrast,
    make_thumbnail,
)

NO_OBJECTS = np.zeros(128, np.uint8)


def thumbnail(image, boxes=()):
    return make_thumbnail(image, example(image=b"", boxes=boxes, size=image.size))


def found(images, boxes=None):
    boxes = [()] * len(images) if boxes is None else boxes
    thumbnails = [thumbnail(image, own) for image, own in zip(images, boxes, strict=True)]
    return [tuple(pair) for pair in alike_pairs(thumbnails).pairs.tolist()]


def expected_correlation(first, second):
    """The oracle: the Pearson correlation of 32x32 thumbnails, of each colour's differences."""
    values = []
    for image in (first, second):
        small = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX), float)
        values.append(
            np.concatenate([colour - colour.mean() for colour in np.moveaxis(small, 2, 0)])
        )
    return np.corrcoef(values[0].ravel(), values[1].ravel())[0, 1]


def jpeg(image, quality):
    return Image.open(io.BytesIO(encoded(image, quality=quality)))


def belt(left, top, ground=(70, 120, 60), color=(200, 60, 40), light=0.0):
    """A part of 40 x 40 pixels on a belt, whose light falls off from left to right."""
    image = Image.new("RGB", (320, 240), ground)
    ImageDraw.Draw(image).rectangle((left, top, left + 39, top + 39), fill=color)
    shade = 1 + light * np.linspace(0.5, -0.5, 320)[:, None]
    return Image.fromarray(np.clip(np.asarray(image) * shade, 0, 255).astype(np.uint8))


# --- what a user calls the same image ---

COPIES = {
    "smaller": lambda image: image.resize((150, 110)),
    "larger": lambda image: image.resize((900, 700), Image.Resampling.LANCZOS),
    "compressed": lambda image: jpeg(image, 20),
    "darker": lambda image: image.point(lambda level: level * 0.4),
    "brighter": lambda image: image.point(lambda level: level * 0.8 + 40),
    "out of focus": lambda image: image.filter(ImageFilter.GaussianBlur(3)),
    "cropped by a hundredth": lambda image: image.crop((3, 2, 317, 238)),
    "with noise": lambda image: Image.fromarray(
        np.clip(
            np.asarray(image) + np.random.default_rng(0).normal(0, 12, (240, 320, 3)), 0, 255
        ).astype(np.uint8)
    ),
    "a palette image": lambda image: image.quantize(64),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_look_alike(kind):
    strangers = [textured(seed, (320, 240)) for seed in range(1, 6)]
    image = textured(0, (320, 240))
    assert found([image, *strangers, COPIES[kind](image)]) == [(0, 6)]
    # A part that lies at the same place on the same belt.
    assert found([belt(100, 80), belt(200, 80), COPIES[kind](belt(100, 80))]) == [(0, 2)]


def test_grey_levels_of_16_bits_look_like_those_of_8():
    grey = np.asarray(textured(0).convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert deep.mode == "I;16" and found([deep, Image.fromarray(grey)]) == [(0, 1)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_exif_turns_looks_like_its_upright_copy(orientation):
    upright = textured(0, (64, 64))
    turns = [upright, *map(upright.transpose, Image.Transpose)]
    stored = next(x for x in turns if turned(x, orientation).tobytes() == upright.tobytes())
    record = replace(example(image=b"", size=(64, 64)), orientation=orientation)
    pixels = make_thumbnail(stored, record).pixels
    expected = thumbnail(upright).pixels.astype(int)
    np.testing.assert_allclose(pixels, expected, atol=1)  # rounding


# --- what is another image ---


def test_parts_at_other_places_of_a_belt_are_other_images():
    places = [(x, y) for x in (20, 100, 180, 260) for y in (20, 100, 180)]
    for light in (0, 0.6):
        images = [belt(x, y, light=light) for x, y in places]
        boxes = [[[x, y, 40, 40]] for x, y in places]
        assert found(images) == found(images, boxes) == []


def test_objects_at_other_places_of_a_field_that_stays_are_other_images():
    """The rim of the microscope's field alone correlates; the boxes say where to look."""
    field = Image.new("RGB", (320, 240))
    ImageDraw.Draw(field).ellipse((40, 0, 279, 239), fill=(220, 200, 210))
    places = [(80, 60), (200, 90), (140, 160)]
    images, boxes = [], []
    for x, y in places:
        images.append(field.copy())
        ImageDraw.Draw(images[-1]).rectangle((x, y, x + 24, y + 24), fill=(150, 40, 160))
        boxes.append([[x, y, 24, 24]])
    assert min(expected_correlation(images[0], other) for other in images[1:]) > 0.915
    assert found(images, boxes) == []
    assert found([*images, images[1].resize((160, 120))], [*boxes, np.array(boxes[1]) / 2]) == [
        (1, 3)
    ]
    # Another annotator boxed less, or nothing.
    assert found([images[0], images[0]], [boxes[0], []]) == [(0, 1)]


def test_an_object_is_compared_with_its_surroundings():
    """By hand, on a square of 8 x 8 cells: the mean of 7 x 7 cells is subtracted from each."""
    pixels = np.full((1, 32, 32, 3), 100, np.uint8)
    pixels[0, 8:16, 8:16] = 160
    contrast = local_contrast(pixels)[0, ..., 0]
    expected = {(0, 0): 0, (31, 31): 0, (12, 12): 0, (8, 12): 60 - 60 * 4 / 7, (7, 12): -60 * 3 / 7}
    for cell, value in expected.items():
        assert contrast[cell] == pytest.approx(value, abs=1e-3)


def test_flat_images_are_not_compared():
    ramp = np.tile(np.linspace(90, 130, 320).astype(np.uint8)[None, :, None], (240, 1, 3))
    flat = [Image.new("RGB", (40, 30), (level, 90, 90)) for level in (90, 90, 91)]
    assert found([*flat, Image.fromarray(ramp), Image.fromarray(ramp)]) == []


# --- the search ---


def test_the_search_finds_what_comparing_each_with_each_finds(monkeypatch):
    """Mixtures of two textures have any correlation; in tiles of 16 images."""
    monkeypatch.setattr(likeness, "TILE", 16)
    random = np.random.default_rng(0)
    originals = [np.asarray(textured(seed), float) for seed in range(8)]
    images = []
    for number in range(60):
        share = random.uniform(0, 0.4)
        mixed = (1 - share) * originals[number % 8] + share * originals[random.integers(8)]
        images.append(Image.fromarray(mixed.astype(np.uint8)))
    result = alike_pairs([thumbnail(image) for image in images])
    oracle = {
        (i, j): expected_correlation(images[i], images[j]) for j in range(60) for i in range(j)
    }
    assert {tuple(pair) for pair in result.pairs.tolist()} == {
        pair for pair, correlation in oracle.items() if correlation >= 0.915
    }
    assert 50 < len(result.pairs) < 300 and len(oracle) == 1770
    expected = [oracle[tuple(pair)] for pair in result.pairs.tolist()]
    np.testing.assert_allclose(result.correlations, expected, atol=1e-5)


def test_coarse_products_are_at_least_the_correlations():
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (40, 32, 32, 3)).astype(np.uint8)
    pixels[20:] = [np.asarray(textured(seed, (32, 32))) for seed in range(20)]
    bounds = coarse_vectors(pixels) @ coarse_vectors(pixels).T
    centred = (pixels - pixels.mean(axis=(1, 2), keepdims=True)).reshape(40, -1)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    assert (bounds >= centred @ centred.T).all()
    assert np.median(bounds[20:, 20:] - (centred @ centred.T)[20:, 20:]) < 0.4


def test_hundreds_of_frames_of_a_camera_that_stands_are_connected(monkeypatch):
    monkeypatch.setattr(likeness, "TILE", 128)
    random = np.random.default_rng(2)
    scene = np.asarray(textured(0, (32, 32)), int)
    noisy = [scene + random.integers(-3, 4, scene.shape) for _ in range(300)]
    thumbnails = [Thumbnail(np.clip(x, 0, 255).astype(np.uint8), NO_OBJECTS) for x in noisy]
    pairs = alike_pairs(thumbnails).pairs
    assert np.bincount(pairs[:, 0]).max() <= 3 * likeness.MAX_PARTNERS
    reached = {0}
    for first, second in sorted(pairs.tolist()):
        if first in reached:
            reached.add(second)
    assert len(reached) == 300


def test_no_image_gives_no_pair():
    assert alike_pairs([]).pairs.shape == (0, 2)
