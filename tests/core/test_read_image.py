"""Pixels of single image files: those that TensorFlow's decoders give, and one-line errors."""

import io
import itertools
import zlib

import numpy as np
import PIL
import pytest
import tensorflow as tf
from PIL import Image, ImageCms, ImageOps

from ssd_keras.core.images import read_header, read_image
from ssd_keras.data.image_files import convert_image, read_image_header
from ssd_keras.data.image_sources import read_bytes
from ssd_keras.data.images import decode_image

HEIGHT, WIDTH = 60, 90
XCODE_CHUNK = b"\0\0\0\4CgBIP\0 \6" + zlib.crc32(b"CgBIP\0 \6").to_bytes(4, "big")


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
    **{f"jpeg, orientation {n}": rotated(n, "JPEG") for n in range(1, 9)},
    **{f"png, orientation {n}": rotated(n, "PNG") for n in range(1, 9)},
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


# Modes that each format stores; formats that keep EXIF data turn by it.
MODES = {
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("RGB", "L", "P", "1", "RGBA", "CMYK", "YCbCr", "LAB", "I;16"),
    "AVIF": ("RGB", "RGBA"),
    "JPEG2000": ("RGB", "L", "RGBA", "I;16"),
    "BMP": ("RGB", "L", "P", "1", "RGBA"),
    "GIF": ("RGB", "L", "P", "RGBA"),
    "PPM": ("RGB", "L", "1", "I;16"),
    "TGA": ("RGB", "L", "P", "RGBA"),
    "ICO": ("RGBA",),
    "QOI": ("RGB",),
    "PCX": ("RGB", "P"),
    "SGI": ("RGB",),
    "DDS": ("RGBA",),
}
KEEPS_EXIF = ("WEBP", "TIFF", "AVIF")
PILLOW = tuple(map(int, PIL.__version__.split(".")[:2]))
# The first version that writes and reads what older ones do not.
SINCE = {"AVIF": (11, 3), "QOI": (11, 3), "PPM I;16": (11, 0), "TIFF YCbCr": (13, 0)}


def in_mode(mode: str) -> Image.Image:
    image = Image.fromarray(colors())
    if mode == "I;16":
        return Image.fromarray(colors()[..., 1].astype(np.uint16) * 256 + 99)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8), [HEIGHT, 1])))
    return image.convert(mode)


@pytest.mark.parametrize("kind", MODES)
def test_pixels_of_other_formats_are_pillows_upright(tmp_path, kind):
    for mode, orientation in itertools.product(MODES[kind], range(1, 9)):
        is_new = any(SINCE.get(name, (0, 0)) > PILLOW for name in (kind, f"{kind} {mode}"))
        if is_new or (orientation > 1 and kind not in KEEPS_EXIF):
            continue
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{mode[:2]}{orientation}"
        in_mode(mode).save(path, kind, exif=exif)
        # From memory: mapped files of TIFF would be turned twice.
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes())))
        if mode == "I;16":
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(read_image(str(path)), expected, f"{mode} {orientation}")
        # What readers make of it: PNG bytes that stand for the same image.
        converted = convert_image(str(path))
        turn = read_image_header(converted).orientation
        decoded = decode_image(read_bytes(converted), turn)
        np.testing.assert_array_equal(decoded, expected, f"{mode} {orientation}, converted")


def test_first_image_of_an_animation_on_its_canvas(tmp_path):
    canvas = Image.new("P", (WIDTH, HEIGHT), 1)
    canvas.putpalette([10, 20, 30, 200, 100, 50])
    path = tmp_path / "image.gif"
    canvas.save(path, save_all=True, append_images=[Image.new("P", (WIDTH, HEIGHT), 0)])
    with path.open("rb") as file:
        assert read_header(file).is_animated
    assert (read_image(str(path)) == (200, 100, 50)).all()


def test_photographs(shared):
    for path in sorted((shared / "data" / "photos").glob("*.*p*g")):
        expected = decode_image(path.read_bytes(), read_image_header(str(path)).orientation)
        np.testing.assert_array_equal(read_image(str(path)), expected, path.name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"the file is empty; expected an image"),
        (b"RIFF....WEBPVP8 ", r"the WebP header cannot be read"),
        (
            b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xaf\x36\0" * 2,  # 14,000 each
            r"it, or a part of it, has more than 179 megapixels; no such WebP file is read: cut it"
            if PILLOW >= (13, 0)
            else r"the WebP header cannot be read",
        ),
        (b"GIF89a", r"the GIF header cannot be read \(a part of it is missing or damaged\)"),
        (
            b"<html></html>   ",
            r"not an image \(it starts with b'<html></'\); expected JPEG, PNG, W",
        ),
        (FILES["jpeg"][:-20], r"the JPEG file is cut off; expected its end mark, copy it again"),
        (FILES["png RGB"][:-20], r"the PNG file is cut off"),
        (FILES["png RGB"][:-4], r"the PNG file is cut off"),  # libpng reads the last checksum
        (
            FILES["png RGB"][:8] + XCODE_CHUNK + FILES["png RGB"][8:],
            r"the PNG header cannot be read \(its first chunk is b'CgBI'; expected IHDR\)",
        ),
        (FILES["jpeg"][:300], r"the JPEG file is cut off"),
        (FILES["jpeg"][:-900] + b"\0\0\0\x18ftypmp42" + bytes(9000), r"the JPEG file is cut off"),
        (
            FILES["png RGB"][:60] + bytes(9) + FILES["png RGB"][69:],
            r"its pixels cannot be decoded .broken data stream",
        ),
        (encoded("GIF", "P")[:900], r"its pixels cannot be decoded .image file is truncated"),
        (encoded("TIFF", "F"), r"its grey levels are floats of 32 bits, whose black and white are"),
        (encoded("TIFF", "I"), r"its grey levels are whole numbers of 32 bits, whose black"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, reason):
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"image\.jpg: {reason}") as e:
        read_image(str(path))
    assert "\n" not in str(e.value)


def test_missing_file(tmp_path):
    message = r"gone\.jpg: the image is missing; expected a file there$"
    with pytest.raises(ValueError, match=message):
        read_image(str(tmp_path / "gone.jpg"))
    (tmp_path / "gone.jpg").mkdir()
    with pytest.raises(ValueError, match=message):
        read_image(str(tmp_path / "gone.jpg"))


def test_damaged_exif_data_turn_nothing(tmp_path):
    for kind in ("JPEG", "PNG", "WEBP"):
        path = tmp_path / kind
        path.write_bytes(encoded(kind, exif=b"Exif\0\0no header of TIFF"))
        with path.open("rb") as file:
            assert read_header(file).orientation == 1
        assert read_image(str(path)).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "cmyk jpeg", "png RGB"])
def test_what_follows_the_end_of_an_image_is_passed_over(tmp_path, kind):
    """Phones append a video or further images to a photograph."""
    path = tmp_path / "image"
    path.write_bytes(FILES[kind])
    expected = read_image(str(path))
    video = b"\0\0\0\x18ftypmp42" + bytes(70_000)
    for tail in (video, b"\xff\xda\x12" * 50_000, FILES["jpeg"], b"\xff" * 9000):
        path.write_bytes(FILES[kind] + tail)
        np.testing.assert_array_equal(read_image(str(path)), expected)
        path.write_bytes(FILES[kind][:-30] + tail)
        if tail != FILES["jpeg"] or kind == "png RGB":
            with pytest.raises(ValueError, match=r"file is cut off; expected its end mark"):
                read_image(str(path))


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"), (b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC"),
     (b"\xff\x0a" + bytes(14), "JPEG XL")],
)  # fmt: skip
def test_known_formats_that_are_not_read_are_named(tmp_path, head, name):
    path = tmp_path / "image.jpg"
    path.write_bytes(head + bytes(100))
    with pytest.raises(ValueError, match=rf"image\.jpg: {name} is not read; convert it to JPEG or"):
        read_image(str(path))


def test_size_limit_is_the_projects_own(tmp_path, recwarn):
    for kind in ("PNG", "TIFF", "GIF"):
        path = str(tmp_path / f"scan.{kind}")
        Image.new("1", (10_000, 9_100)).save(path, kind)  # Pillow warns from 89 megapixels on
        with pytest.raises(
            ValueError,
            match=r"has 91 megapixels; more than 90 are not read: cut it into tiles, or raise",
        ):
            read_image(path, max_pixels=90_000_000)
    assert read_image(str(tmp_path / "scan.TIFF")).shape == (9_100, 10_000, 3)
    assert not recwarn.list
