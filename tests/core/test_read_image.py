"""Pixels of single image files: those that TensorFlow's decoders give, and one-line errors."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ssd_keras.core.images import read_image
from ssd_keras.data.image_files import read_image_header
from ssd_keras.data.images import decode_image

HEIGHT, WIDTH = 60, 90


def colors() -> np.ndarray:
    """Crossing ramps with a hard-edged patch, uint8 [60, 90, 3]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([y * 4, x * 2.8, (x + y) * 1.7], axis=-1).clip(0, 255).astype(np.uint8)
    image[20:31, 33:52] = (250, 20, 200)
    return image


def encoded(kind: str, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(colors()).convert(mode).save(file, kind, **options)
    return file.getvalue()


def rotated(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(kind, exif=exif)


def translucent(kind: str, mode: str) -> bytes:
    image = Image.fromarray(colors()).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8), [HEIGHT, 1])))
    file = io.BytesIO()
    image.convert(mode).save(file, kind)
    return file.getvalue()


def sixteen_bit(channels: int) -> bytes:
    values = np.dstack([colors(), colors()[..., :1]])[..., :channels].astype(np.uint16)
    return tf.io.encode_png(values * 256 + 99).numpy()


def animation() -> bytes:
    second = Image.new("P", (WIDTH, HEIGHT), 3)
    return encoded("GIF", "P", save_all=True, append_images=[second])


FILES = {
    "jpeg": encoded("JPEG", quality=90),
    "jpeg of full colours": encoded("JPEG", quality=90, subsampling=0),
    "progressive jpeg": encoded("JPEG", quality=90, progressive=True),
    "grey jpeg": encoded("JPEG", "L"),
    "cmyk jpeg": encoded("JPEG", "CMYK"),
    **{f"png {mode}": encoded("PNG", mode) for mode in ("RGB", "L", "P", "1")},
    "png RGBA": translucent("PNG", "RGBA"),
    "png LA": translucent("PNG", "LA"),
    "png with a transparent colour": encoded("PNG", transparency=(250, 20, 200)),
    **{f"png of {n} channels of 16 bits": sixteen_bit(n) for n in (1, 2, 3, 4)},
    **{f"bmp {mode}": encoded("BMP", mode) for mode in ("RGB", "L")},
    "bmp RGBA": translucent("BMP", "RGBA"),
    "gif": encoded("GIF", "P"),
    "grey gif": encoded("GIF", "L"),
    "transparent gif": encoded("GIF", "P", transparency=198),
    "animation": animation(),
    **{f"jpeg, orientation {n}": rotated(n, "JPEG") for n in range(1, 9)},
    "png, orientation 6": rotated(6, "PNG"),  # left alone: PNG files with EXIF data are rare
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_tensorflows_decoders(tmp_path, name):
    path = tmp_path / "image"
    path.write_bytes(FILES[name])
    expected = decode_image(FILES[name], read_image_header(str(path)).orientation).numpy()
    found = read_image(str(path))
    assert found.dtype == np.uint8 and found.flags.writeable
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 1


def test_transparent_pixels_of_a_gif_are_black(tmp_path):
    image = Image.fromarray(colors()).convert("P")
    patch = int(np.asarray(image)[25, 40])
    path = tmp_path / "image.gif"
    image.save(path, transparency=patch)
    found = read_image(str(path))
    assert not found[25, 40].any() and found[50, 80].any()
    np.testing.assert_array_equal(found, decode_image(path.read_bytes()))


def test_photographs(shared):
    for path in sorted((shared / "data" / "photos").glob("*.*p*g")):
        expected = decode_image(path.read_bytes(), read_image_header(str(path)).orientation)
        np.testing.assert_array_equal(read_image(str(path)), expected, path.name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"the file is empty; expected an image"),
        (b"RIFF....WEBPVP8 ", r"not an image \(it starts with b'RIFF.+expected JPEG, PNG, BMP, G"),
        (FILES["jpeg"][:-20], r"the JPEG file is cut off; expected its end mark, copy it again"),
        (FILES["png RGB"][:-20], r"the PNG file is cut off"),
        (encoded("BMP", "P"), r"the BMP header cannot be read \(a BMP with a palette; save it as"),
        (FILES["png RGB"][:60] + bytes(9) + FILES["png RGB"][69:], r"broken data stream"),
        (FILES["gif"][:900], r"image file is truncated"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, reason):
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"image\.jpg: cannot be read as an image \({reason}"
    ) as e:
        read_image(str(path))
    assert "\n" not in str(e.value)


def test_missing_file(tmp_path):
    message = (
        r"gone\.jpg: cannot be read as an image \(the image is missing; expected a file there\)$"
    )
    with pytest.raises(ValueError, match=message):
        read_image(str(tmp_path / "gone.jpg"))
    (tmp_path / "gone.jpg").mkdir()
    with pytest.raises(ValueError, match=message):
        read_image(str(tmp_path / "gone.jpg"))
