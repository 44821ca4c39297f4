"""Pixels of the augmentation: they move with the boxes, and are those of crop, then resize."""

import io

import numpy as np
import pytest
import tensorflow as tf
from draws import draw_many, smooth_image
from PIL import Image, ImageOps

from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.augmentation.geometry import (
    Geometry,
    augment,
    choose_kernel,
    mirror,
)
from ssd_keras.data.augmentation.rendering import (
    KERNELS,
    View,
    decoding_ratio,
    make_view,
    place_on_canvas,
    render,
)
from ssd_keras.data.augmentation.steps import QuarterTurns
from ssd_keras.data.images import decode_region

WHOLE = [0.0, 0.0, 1.0, 1.0]

BACKGROUND = (40, 40, 40)
COLORS = np.array([(250, 40, 40), (40, 250, 40), (40, 40, 250)])
FILL = (123, 117, 104)
# ymin, xmin, ymax, xmax in pixels of an image of 200 x 280; the last touches two borders.
RECTANGLES = np.array([(30, 20, 90, 75), (70, 120, 185, 170), (120, 215, 200, 280)])


def draw_rectangles() -> np.ndarray:
    image = np.full([200, 280, 3], BACKGROUND, np.uint8)
    for (ymin, xmin, ymax, xmax), color in zip(RECTANGLES, COLORS, strict=True):
        image[ymin:ymax, xmin:xmax] = color
    return image


def encode(image: np.ndarray, kind: str = "PNG", orientation: int = 1) -> bytes:
    """The image as a file whose stored pixels are turned by the inverse of the orientation."""
    inverse = {1: None, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE}[orientation]
    stored = Image.fromarray(image)
    stored = stored if inverse is None else stored.transpose(inverse)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    stored.save(file, kind, exif=exif, **options)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue()))))
    assert np.abs(upright.astype(int) - image).max() <= (0 if kind == "PNG" else 6)
    return file.getvalue()


def render_file(data: bytes, size: tf.Tensor, view: View, kernel: tf.Tensor) -> tf.Tensor:
    return render(decode_region(data, 1, size, view.region, view.ratio), view, kernel)


def color_extent(image: np.ndarray, color: np.ndarray) -> np.ndarray | None:
    """Pixels nearer to the colour than to the background, yxyx; None where there is none."""
    toward = (color - BACKGROUND) / np.square(color - BACKGROUND).sum()
    rows, columns = np.nonzero((image.astype(float) - BACKGROUND) @ toward > 0.5)
    if not len(rows):
        return None
    return np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])


def augment_many(data, orientation, height, width, boxes, image_size, options, seeds: int):
    """The results of `augment` for that many seeds, as arrays."""

    @tf.function(autograph=False)
    def run(seed):
        return augment(
            data,
            orientation,
            tf.constant([height, width]),
            tf.constant(boxes, tf.float32),
            tf.range(len(boxes)),
            image_size,
            seed,
            options,
        )

    for seed in range(seeds):
        yield [value.numpy() for value in run(tf.constant([seed, 77], tf.int64))]


@pytest.mark.parametrize(
    ("kind", "orientation", "image_size", "options"),
    [
        ("PNG", 1, (150, 150), {}),
        ("PNG", 1, (120, 210), {"random_resize": True, "flip_vertical": True}),
        ("JPEG", 1, (150, 150), {}),  # decodes the region alone
        ("JPEG", 6, (210, 120), {"flip_vertical": True}),
        ("JPEG", 7, (150, 150), {}),
        ("JPEG", 6, (120, 210), {"before": (QuarterTurns(),)}),
    ],
)
def test_boxes_follow_the_pixels(kind, orientation, image_size, options):
    data = encode(draw_rectangles(), kind, orientation)
    boxes = RECTANGLES / [200, 280, 200, 280]
    options = Augmentation(photometric=False, **options)
    scale = np.tile(image_size, 2)
    seen = {"kept": 0, "cut": 0, "filled": 0, "dropped though visible": 0}
    for image, found, labels in augment_many(
        data, orientation, 200, 280, boxes, image_size, options, seeds=200
    ):
        for box, label in zip(found * scale, labels, strict=True):
            assert (box[2:] > box[:2]).all() and box.min() >= 0 and (box <= scale).all()
            if (box[2:] - box[:2]).min() < 2:
                continue  # too thin to be seen after zooming out
            extent = color_extent(image, COLORS[label])
            np.testing.assert_allclose(extent, box, atol=1.5)
            seen["kept"] += 1
            seen["cut"] += bool((box == 0).any() or (box == scale).any())
        for label in set(range(3)) - set(labels.tolist()):
            if (extent := color_extent(image, COLORS[label])) is not None:
                # Less than half of it shows, beyond one of the borders.
                assert (extent[:2] == 0).any() or (extent[2:] == image_size).any()
                seen["dropped though visible"] += 1
        shows = (image != FILL).any(axis=-1)
        seen["filled"] += not shows.all()
        check_canvas(image, shows)
    assert min(seen.values()) > 20 and seen["kept"] > 250, seen


def check_canvas(image: np.ndarray, shows: np.ndarray) -> None:
    """Beside exact fill there is one full rectangle of image, and no mixture of the two."""
    rows, columns = np.nonzero(shows)
    if len(rows):
        assert shows[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        # In background, colours and their mixtures at most one channel is above 40. Compression
        # and sharp kernels move that a little, but not to the fill's 117, nor to a missing 0.
        middle = np.sort(image[shows], axis=-1)[:, 1]
        assert middle.min() > 20 and middle.max() < 60


def test_a_window_on_the_canvas_alone_shows_fill_and_nothing_else():
    image, size = draw_rectangles(), tf.constant([200, 280])
    for kind, (top, left) in (("PNG", (1.5, 1.2)), ("JPEG", (-2.0, 0.2)), ("JPEG", (0.1, -1.7))):
        window = tf.constant([top, left, top + 0.9, left + 0.7]) * [200, 280, 200, 280]
        view = make_view(window, size, (50, 70))
        pixels = render_file(encode(image, kind), size, view, tf.constant(0))
        assert pixels.shape == (0, 0, 3)
        np.testing.assert_array_equal(view.window, window)
        drawn = place_on_canvas(tf.cast(pixels, tf.uint8), view.offset, (50, 70)).numpy()
        np.testing.assert_array_equal(drawn, np.tile(FILL, (50, 70, 1)))


def test_augment_meets_windows_on_the_canvas_alone():
    boxes = [[0.02, 0.02, 0.12, 0.1]]
    found = list(
        augment_many(encode(draw_rectangles()), 1, 200, 280, boxes, (60, 60), Augmentation(), 400)
    )
    empty = [kept for image, kept, _ in found if (image == FILL).all()]
    assert len(empty) >= 2 and all(kept.shape == (0, 4) for kept in empty)


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    return smooth_image()


def test_a_view_by_hand():
    # Rows 2.2 to 7.9 of 10 become 2 to 8. Twenty columns from -5 on become eight cells of 2.5
    # pixels, of which the image takes the third to the sixth.
    view = make_view(tf.constant([2.2, -5.0, 7.9, 15.0]), tf.constant([10, 10]), (3, 8))
    assert view.region.numpy().tolist() == [2, 0, 6, 10]
    assert view.offset.numpy().tolist() == [0, 2] and view.extent.numpy().tolist() == [3, 4]
    assert view.window.numpy().tolist() == [2, -5, 8, 15]
    black = place_on_canvas(tf.zeros([1, 1, 3], tf.uint8), tf.constant([0, 1]), (1, 3))
    assert black[0, :, 0].numpy().tolist() == [123, 0, 123]


def test_views_begin_and_end_at_whole_pixels():
    generator = np.random.default_rng(5)
    seen = {"within": 0, "beyond": 0, "nothing": 0}
    for _ in range(400):
        size, image_size = generator.integers(9, 300, 2), generator.integers(5, 90, 2)
        start = generator.uniform(-1.3, 1.1, 2) * size * generator.integers(0, 2, 2)
        window = np.float32([*start, *(start + generator.uniform(0.2, 2.5, 2) * size)])
        ratio = int(generator.choice([1, 2, 8]))
        view = make_view(tf.constant(window), tf.constant(size), tuple(image_size), ratio)
        view = tf.nest.map_structure(lambda value: value.numpy(), view)
        if 0 in view.extent:
            shows = np.minimum(window[2:], size) - np.maximum(window[:2], 0)
            assert (shows * image_size / (window[2:] - window[:2])).min() < 1  # of its pixels
            assert view.extent.tolist() == [0, 0]
            np.testing.assert_array_equal(view.window, window)
            seen["nothing"] += 1
            continue
        for axis in range(2):
            first, extent, snapped = *view.region[axis::2], view.window[axis::2]
            begins, count = int(view.offset[axis]), int(view.extent[axis])
            start, end, length, cells = *window[axis::2], size[axis], image_size[axis]
            assert first % ratio == extent % ratio == 0
            # Within the image an edge moves to one of its pixels (or squares of `ratio` pixels),
            # beyond it the image's end moves to a pixel of the result.
            scale = cells / (end - start)
            assert begins == (0 if start >= 0 else pytest.approx(-start * scale, abs=0.501))
            assert begins + count == (
                cells if end <= length else pytest.approx((length - start) * scale, abs=0.501)
            )
            assert first == (pytest.approx(start, abs=ratio) if start > 0 else 0)
            expected = end if end < length else length
            assert first + extent == pytest.approx(expected, abs=int(ratio - (end >= length)))
            # The window that boxes are expressed in says the same as region and offset.
            to_result = (np.array([first, first + extent]) - snapped[0]) * cells
            to_result /= snapped[1] - snapped[0]
            np.testing.assert_allclose(to_result, [begins, begins + count], atol=1e-3)
            seen["within" if count == cells else "beyond"] += 1
    assert min(seen.values()) > 20, seen


def plain_weights(length: int, cells: int, kernel: str) -> np.ndarray:
    """What each pixel of a row gives to each cell of the result, [cells, length]."""
    start, reach = np.arange(cells)[:, None] * length / cells, length / cells
    pixel = np.arange(length)
    away = np.abs(pixel + 0.5 - (start + reach / 2))
    weights = {
        "area": np.minimum(start + reach, pixel + 1) - np.maximum(start, pixel),
        "bilinear": 1 - away,
        "nearest": np.floor(start + reach / 2) == pixel,
        "bicubic": np.where(
            away < 1,
            1.5 * away**3 - 2.5 * away**2 + 1,
            -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2,
        )
        * (away < 2),
        "lanczos3": np.sinc(away) * np.sinc(away / 3) * (away < 3),
    }[kernel]
    if kernel in ("area", "bilinear"):
        weights = np.maximum(weights, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kernel", range(len(KERNELS)))
@pytest.mark.parametrize("pixels", [(20, 30, 120, 190), (0, 0, 160, 220), (31, 57, 62, 92)])
def test_pixels_are_those_of_crop_then_resize(smooth, pixels, kernel):
    top, left, bottom, right = pixels
    size, image_size = tf.constant([160, 220]), (48, 40)
    window = tf.constant(pixels, tf.float32) + [0.3, -0.4, 0.2, 0.4]
    view = make_view(window, size, image_size)
    np.testing.assert_array_equal(view.window, pixels)
    found = render_file(encode(smooth), size, view, tf.constant(kernel)).numpy()
    name = KERNELS[kernel]
    if name == "area" and bottom - top < 48:
        name = "bilinear"  # averaging would make blocks of what is enlarged
    rows = plain_weights(bottom - top, 48, name)
    columns = plain_weights(right - left, 40, name)
    expected = np.einsum(
        "yr,xc,rcd->yxd", rows, columns, smooth[top:bottom, left:right], optimize=True
    )
    np.testing.assert_allclose(found, expected, atol=0.03)


@pytest.mark.parametrize("size", [(48, 66), (20, 30), (12, 17)])
def test_strongly_reduced_jpegs_are_averaged(smooth, size):
    """A JPEG reduced in decoding and then averaged is close to the averaged whole."""
    image = np.tile(smooth, [3, 3, 1])  # 480 x 660
    data, shape = encode(image, "JPEG"), tf.constant([480, 660])
    window, kernel = tf.constant([0.0, 0.0, 480.0, 660.0]), tf.constant(0)
    ratio = decoding_ratio(data, 1, window, size, kernel)
    found = render_file(data, shape, make_view(window, shape, size, ratio), kernel)
    averaged, aliased = (
        np.einsum(
            "yr,xc,rcd->yxd",
            plain_weights(480, size[0], name),
            plain_weights(660, size[1], name),
            image,
            optimize=True,  # two products instead of a loop over all six indices
        )
        for name in ("area", "bilinear")
    )
    assert ratio >= 4
    apart = np.abs(aliased - averaged).mean()
    assert np.abs(found - averaged).mean() < 0.25 * apart


@pytest.mark.parametrize(
    ("kind", "orientation", "size", "kernel", "ratio"),
    [
        # Half of the reduction of the side that is reduced least, as a power of two.
        ("JPEG", 1, (48, 22), 0, 1),
        ("JPEG", 1, (16, 52), 0, 2),
        ("JPEG", 1, (19, 26), 0, 4),
        ("JPEG", 1, (2, 2), 0, 8),
        ("JPEG", 1, (2, 2), 1, 1),  # linear does not average
        ("JPEG", 6, (2, 2), 0, 1),
        ("PNG", 1, (2, 2), 0, 1),
    ],
)
def test_how_much_is_reduced_in_decoding(smooth, kind, orientation, size, kernel, ratio):
    data = tf.constant(encode(smooth, kind))
    window = tf.constant([0.0, 0.0, 160.0, 220.0])
    found = decoding_ratio(data, orientation, window, size, tf.constant(kernel))
    assert int(found) == ratio


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)])
def test_mirrors(smooth, axes):
    geometry = Geometry(tf.constant(WHOLE), tf.constant(1 in axes), tf.constant(0 in axes))
    np.testing.assert_array_equal(mirror(tf.constant(smooth), geometry), np.flip(smooth, axes))


def test_kernels_are_drawn_with_equal_chances():
    for options, kernels in ((Augmentation(), 2), (Augmentation(random_resize=True), 5)):
        found = draw_many(
            lambda seed, options=options: tf.cast(choose_kernel(seed, options), tf.float32), 400
        )
        counts = np.bincount(found.ravel().astype(int))
        assert len(counts) == kernels and counts.min() > 0.7 * 400 / kernels


def test_photometric_switch(smooth):
    data = encode(smooth)
    still = {"zoom_out": False, "crop": False, "flip": False}
    for photometric in (False, True):
        options = Augmentation(photometric=photometric, **still)
        found = [x for x, _, _ in augment_many(data, 1, 160, 220, [WHOLE], (160, 220), options, 8)]
        same = [bool((image == smooth).all()) for image in found]
        assert all(same) == (not photometric)
