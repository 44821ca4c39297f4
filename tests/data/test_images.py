"""Decoding against Pillow, turning against its EXIF rule, resizing against plain NumPy."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from ssd_keras.data.images import (
    decode_image,
    decode_region,
    is_jpeg,
    resize_image,
    to_uint8,
    turn_upright,
)

HEIGHT, WIDTH = 60, 90
REGIONS = [(10, 17, 30, 41), (0, 0, 60, 50), (59, 89, 1, 1), (3, 5, 20, 85), (0, 0, 60, 90)]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Three crossing ramps with a hard-edged patch, so that no two regions look the same."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramps = np.stack([y * 4, x * 2.8, (x + y) * 1.7], axis=-1).clip(0, 255).astype(np.uint8)
    ramps[20:31, 33:52] = (250, 20, 200)
    return ramps


def encode(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def difference(found, expected) -> int:
    """Largest difference in grey levels."""
    found = np.asarray(found)
    assert found.dtype == np.uint8 and found.shape == expected.shape
    return int(np.abs(found.astype(int) - expected).max(initial=0))


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),  # opaque
        ("PNG", "P", {}),
        ("PNG", "L", {}),
        ("PNG", "LA", {}),
        ("PNG", "1", {}),
        ("BMP", "RGB", {}),
        ("BMP", "RGBA", {}),  # 32 bits a pixel
        ("BMP", "L", {}),
        ("GIF", "P", {}),
        ("GIF", "L", {}),
        ("JPEG", "RGB", {"quality": 90}),
        ("JPEG", "RGB", {"quality": 90, "subsampling": 0}),
        ("JPEG", "RGB", {"quality": 90, "progressive": True}),
        ("JPEG", "L", {"quality": 90}),
    ],
)
def test_decoding_gives_pillows_pixels(image, kind, mode, options):
    data = encode(Image.fromarray(image).convert(mode), kind, **options)
    assert bool(is_jpeg(data)) == (kind == "JPEG")
    assert difference(decode_image(data), pillow(data)) == 0


def test_real_photographs_decode_to_pillows_pixels(shared):
    for name in ("owl.jpg", "cat.bmp"):
        data = (shared / "data" / "photos" / name).read_bytes()
        assert difference(decode_image(data), pillow(data)) == 0, name


def test_cmyk_jpeg_within_the_rounding_of_its_conversion(image):
    # Both multiply the inverted inks by the black and divide by 255, rounded differently.
    data = encode(Image.fromarray(image).convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert difference(decode_image(data), pillow(data)) <= 1
    assert difference(decode_image(data), image) < 60  # the colours themselves, not inverted


def test_sixteen_bit_png_keeps_the_high_bytes(image):
    high = image[..., 1].astype(np.uint16)
    data = encode(Image.fromarray(high * 256 + 77), "PNG")
    assert Image.open(io.BytesIO(data)).mode.startswith("I;16")
    assert difference(decode_image(data), np.repeat(image[..., 1:2], 3, axis=-1)) == 0


def test_first_image_of_an_animation(image):
    first, second = Image.fromarray(image).convert("P"), Image.new("P", (WIDTH, HEIGHT), 3)
    data = encode(first, "GIF", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert difference(decode_image(data), pillow(data)) == 0


def test_static_shape_is_known_to_have_three_channels():
    traced = tf.function(decode_image).get_concrete_function(tf.TensorSpec([], tf.string))
    assert traced.output_shapes.as_list() == [None, None, 3]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_follows_the_exif_standard(image, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "JPEG"):
        data = encode(image, kind, exif=exif)
        stored = Image.open(io.BytesIO(data))
        upright = np.asarray(ImageOps.exif_transpose(stored))
        assert np.array_equal(upright, np.asarray(stored)) == (orientation == 1)
        assert difference(turn_upright(np.asarray(stored), orientation), upright) == 0
        assert difference(decode_image(data, orientation), upright) == 0
        # As a tensor inside a graph, as the pipeline has it.
        turned = tf.function(turn_upright)(np.asarray(stored), tf.constant(orientation))
        assert difference(turned, upright) == 0


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_region_equals_the_slice_of_the_whole(image, orientation, region):
    for kind, options in (("PNG", {}), ("BMP", {}), ("JPEG", {"subsampling": 0})):
        data = encode(image, kind, **options)
        whole = decode_image(data, orientation).numpy()
        top, left, height, width = region
        top, left = min(top, whole.shape[0] - 1), min(left, whole.shape[1] - 1)
        part = whole[top : top + height, left : left + width]
        region_here = tf.constant([top, left, *part.shape[:2]])
        found = decode_region(data, orientation, tf.constant(whole.shape[:2]), region_here)
        assert difference(found, part) == 0, kind


@pytest.mark.parametrize("region", REGIONS)
def test_region_of_a_jpeg_differs_by_its_smoothed_colours_alone(image, region):
    # Halved colour channels are smoothed across neighbours, which a region's edge has not.
    data = encode(image, "JPEG", quality=90, subsampling=2)
    top, left, height, width = region
    part = pillow(data)[top : top + height, left : left + width]
    found = decode_region(data, 1, tf.constant([HEIGHT, WIDTH]), tf.constant(region))
    assert difference(found, part) <= 40
    # The pixels that the pipeline shows lie two further in, and are the same.
    inner = found[2:-2, 2:-2].numpy()
    assert difference(inner, part[2:-2, 2:-2]) == 0


def test_region_of_a_jpeg_decodes_no_more_than_that(image):
    # The lower half of the file is cut away: only what does not reach it can still be read.
    data = encode(np.tile(image, [10, 1, 1]), "JPEG")[:5000]
    size = tf.constant([10 * HEIGHT, WIDTH])
    assert decode_region(data, 1, size, tf.constant([0, 0, 20, 90])).shape == (20, 90, 3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_region(data, 1, size, tf.constant([0, 0, 600, 90]))


@pytest.mark.parametrize("ratio", [2, 4, 8])
def test_region_of_a_reduced_jpeg(image, ratio):
    """Its pixels are the slice of the whole, as reduced: about the means of squares."""
    smooth = Image.fromarray(image[:9, :9]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    data = encode(np.asarray(smooth), "JPEG", quality=95, subsampling=0)
    whole = tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE").numpy()
    rows, columns = HEIGHT // ratio // 2, WIDTH // ratio // 2
    region = tf.constant([ratio, 0, rows * ratio - 1, columns * ratio])
    found = decode_region(data, 1, tf.constant([HEIGHT, WIDTH]), region, ratio)
    assert found.shape == (rows, columns, 3)
    assert difference(found, whole[1 : 1 + rows, :columns]) == 0
    squares = pillow(data)[ratio : ratio * (1 + rows), : ratio * columns].astype(np.float64)
    means = squares.reshape(rows, ratio, columns, ratio, 3).mean(axis=(1, 3))
    assert np.abs(found.numpy() - means).mean() < 2


def test_bytes_that_are_no_image_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(b"no image at all")


def plain_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centres: pixel i of n covers (i, i + 1) / n of the side."""
    result = np.zeros((height, width, 3))
    rows, columns = image.shape[:2]
    for i in range(height):
        y = min(max((i + 0.5) * rows / height - 0.5, 0), rows - 1)
        above, below, down = int(y), min(int(y) + 1, rows - 1), y - int(y)
        for j in range(width):
            x = min(max((j + 0.5) * columns / width - 0.5, 0), columns - 1)
            left, right, along = int(x), min(int(x) + 1, columns - 1), x - int(x)
            upper = image[above, left] * (1 - along) + image[above, right] * along
            lower = image[below, left] * (1 - along) + image[below, right] * along
            result[i, j] = upper * (1 - down) + lower * down
    return result


@pytest.mark.parametrize("size", [(37, 141), (120, 45), (60, 90), (7, 7)])
def test_resizing_is_bilinear_at_half_pixel_centres(image, size):
    expected = plain_bilinear(image.astype(float), *size)
    for pixels in (image, image.astype(np.float32)):
        found = resize_image(pixels, size)
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, expected, atol=2e-3)
    batch = resize_image(np.stack([image, image[::-1]]), size)
    np.testing.assert_allclose(batch[0], expected, atol=2e-3)
    np.testing.assert_allclose(batch[1], expected[::-1], atol=2e-3)


def test_resizing_by_hand():
    # Two columns to four: centres at -0.25, 0.25, 0.75, 1.25 of the old ones.
    image = np.array([[[0, 0, 80], [100, 0, 0]]], np.uint8)
    found = resize_image(image, (1, 4)).numpy()
    assert found[0, :, 0].tolist() == [0, 25, 75, 100]
    assert found[0, :, 2].tolist() == [80, 60, 20, 0]


def test_bytes_are_rounded_and_clipped():
    levels = np.random.default_rng(3).uniform(-300, 600, 100_000).astype(np.float32)
    levels = np.concatenate([levels, np.arange(256, dtype=np.float32), [0.5, 1.5, 254.5]])
    expected = np.clip(np.floor(levels + 0.5), 0, 255)
    np.testing.assert_array_equal(to_uint8(tf.constant(levels, tf.float32)), expected)
    assert to_uint8(tf.zeros([0, 0, 3])).shape == (0, 0, 3)
