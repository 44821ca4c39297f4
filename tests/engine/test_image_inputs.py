"""What `detect` takes: each kind gives the pixels of the file of the same image, or one line."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from http_files import serving
from PIL import Image
from trainings import StubDetector, encoded

from ssd_keras.core.downloads import download_bytes
from ssd_keras.core.images import read_image
from ssd_keras.data.sources import load_data
from ssd_keras.engine.detector import detect
from ssd_keras.engine.image_paths import unique_names

RGB = np.random.default_rng(3).integers(0, 256, (20, 30, 3)).astype(np.uint8)
DEEP = np.random.default_rng(4).integers(0, 65536, (20, 30)).astype(np.uint16)
TURNED = Image.Exif()
TURNED[0x0112] = 6  # clockwise: 20x30 pixels are shown as 30x20


def seen(images, **options):
    """The pixels that a detector for images of any size gets, and the results."""
    detector = StubDetector([([[0, 0, 1, 0.5]], [0.75], [0])], image_size=None)
    return detector.images, detect(detector, images, **options)


FILES = {
    "L.png": {"mode": "L"},
    "LA.png": {"mode": "LA"},
    "P.png": {"mode": "P"},
    "P.gif": {"mode": "P"},
    "RGB.bmp": {},
    "RGBA.png": {"mode": "RGBA"},
    "RGBA.webp": {"mode": "RGBA", "lossless": True},
    "1.png": {"mode": "1"},
    "CMYK.jpg": {"mode": "CMYK"},
    "CMYK.tif": {"mode": "CMYK"},
    "LAB.tif": {"mode": "LAB"},
    "deep.png": {"array": DEEP},
    "deep.tif": {"array": DEEP},
    "deep.pgm": {"array": DEEP.astype(np.int32)},
    "turned.jpg": {"exif": TURNED},
    "turned.png": {"exif": TURNED},
    "turned.webp": {"exif": TURNED, "lossless": True},
    "turned.tif": {"exif": TURNED},
    "deep_turned.png": {"array": DEEP, "exif": TURNED},
}


def write_image(path, mode="RGB", array=RGB, **options):
    image = Image.fromarray(array)
    if mode == "LAB":
        image = Image.merge("LAB", image.split())
    elif mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(RGB[..., 1]))
    image = image if array is not RGB or image.mode == mode else image.convert(mode)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", FILES)
def test_every_way_to_pass_a_file_gives_its_pixels(tmp_path, name):
    path = write_image(tmp_path / name, **FILES[name])
    expected = read_image(str(path))
    assert expected.shape == ((30, 20, 3) if "turned" in name else (20, 30, 3))
    content = path.read_bytes()
    with open(path, "rb") as file, Image.open(path) as opened, Image.open(path) as again:
        copied = again.copy()
        values = [str(path), path, content, bytearray(content), memoryview(content)]
        values += [file, io.BytesIO(content), tf.constant(content), opened]
        if name != "deep.pgm":  # whose copy does not know that its 32 bits are 16
            values.append(copied)
        images, results = seen(values, batch_size=4)
    for value, image, result in zip(values, images, results, strict=True):
        np.testing.assert_array_equal(image, expected, str(type(value)))
        np.testing.assert_array_equal(result.read_image(), expected, str(type(value)))
        assert result.image_size == expected.shape[:2]
    assert [result.image_id for result in results[:3]] == [
        f"{path.name.split('.')[0]}",
        f"{path.name.split('.')[0]}_2",
        2,
    ]


GREY = RGB[..., 0]
ALPHA = np.dstack([RGB, GREY])
AS_GREY = np.repeat(GREY[..., None], 3, axis=-1)
BITS = GREY > 127
ARRAYS = {
    "RGB": (RGB, RGB),
    "not contiguous": (RGB[::-1, ::2], RGB[::-1, ::2]),
    "grey [H, W]": (GREY, AS_GREY),
    "grey [H, W, 1]": (GREY[..., None], AS_GREY),
    "RGBA": (ALPHA, RGB),
    "uint16": (RGB.astype(np.uint16) * 256 + 255, RGB),
    "uint16 grey": (DEEP, np.repeat((DEEP // 256).astype(np.uint8)[..., None], 3, axis=-1)),
    "uint16 RGBA": (ALPHA.astype(np.uint16) * 257, RGB),
    "int64": (RGB.astype(np.int64), RGB),
    "bool": (BITS, np.where(BITS[..., None], 255, [0, 0, 0])),
    "float64": (RGB.astype(np.float64), RGB),
    "float16": (RGB.astype(np.float16), RGB),
    "float RGBA, transparency in 0..1": (np.dstack([RGB, GREY / 255.0]), RGB),
    "tensor": (tf.constant(RGB), RGB),
    "variable": (tf.Variable(RGB.astype(np.float32)), RGB),
    "bfloat16": (tf.cast(RGB // 2, tf.bfloat16), RGB // 2),
    "black": (np.zeros((20, 30, 3), np.float32), np.zeros((20, 30, 3))),
    "nearly black": (np.float32([[[0, 1, 2]]]), [[[0, 1, 2]]]),
    "nearly black uint8": (np.ones((4, 4, 3), np.uint8), np.ones((4, 4, 3))),
    "interpolated": (np.float32([[[-4.5, 0, 258]]]), [[[-4.5, 0, 258]]]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_brought_to_rgb(name):
    array, expected = ARRAYS[name]
    (image,), result = seen(array)
    np.testing.assert_array_equal(image, expected)
    assert result.image_id == 0 and result.image_size == np.shape(expected)[:2]
    np.testing.assert_array_equal(result.read_image(), np.clip(np.rint(expected), 0, 255))
    # In a list and in a batch it is the same.
    batch = np.stack([array, array])
    (first, second, third), results = seen([array, batch if batch.ndim == 4 else batch[..., None]])
    for again in (first, second, third):
        np.testing.assert_array_equal(again, image)
    assert [one.image_id for one in results] == [0, 1, 2]


def test_arrays_of_jax():
    jax_numpy = pytest.importorskip("jax.numpy", reason="NOT TESTED: JAX is not installed")
    bfloat16 = jax_numpy.array(RGB // 2, jax_numpy.bfloat16)
    for array, expected in ((jax_numpy.array(RGB), RGB), (bfloat16, RGB // 2)):
        np.testing.assert_array_equal(seen(array)[0][0], expected)


@pytest.mark.consumers
def test_tensors_of_pytorch():
    torch = pytest.importorskip("torch", reason="NOT TESTED: PyTorch is not installed")
    tensor = torch.tensor(RGB)
    for image in (tensor, tensor.float().requires_grad_(), (tensor // 2).to(torch.bfloat16) * 2):
        (found,), _ = seen(image)
        assert np.abs(found - RGB.astype(float)).max() <= 1
    with pytest.raises(ValueError, match=r"^image 0 of the shape \(3, 20, 30\) has its channels"):
        seen(tensor.permute(2, 0, 1))


def shown(images):
    """Ids of images, by the pixel of their corner."""
    found, results = seen(images)
    assert isinstance(results, list)
    return [
        (result.image_id, int(image[0, 0, 0])) for result, image in zip(results, found, strict=True)
    ]


def test_several_images_in_every_container(tmp_path):
    greys = [np.full((4, 6, 3), grey, np.uint8) for grey in (10, 20, 30)]
    expected = [(0, 10), (1, 20), (2, 30)]
    data = tf.data.Dataset.from_tensor_slices(np.stack(greys))
    with_targets = data.map(lambda image: (image, tf.zeros([2, 4])))
    labelled = data.map(lambda image: {"image": image, "label": 3}).batch(2)
    containers = [greys, tuple(greys), (one for one in greys), np.stack(greys), tf.stack(greys)]
    containers += [data, data.batch(2), with_targets, with_targets.batch(2), labelled]
    containers += [[greys[0], np.stack(greys[1:])], np.stack(greys).astype("float32")]
    for images in containers:
        assert shown(images) == expected, type(images)
    assert shown([greys[0]]) == expected[:1]
    paths = []
    for name, grey in (("b.png", 20), ("a.PNG", 10), ("deep/c.png", 30)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded("PNG", color=(grey,) * 3))
        paths.append(str(tmp_path / name))
    (tmp_path / "notes.txt").write_text("no image")
    assert shown(tmp_path) == shown(str(tmp_path / "?.*")) == [("a", 10), ("b", 20)]
    assert shown(str(tmp_path / "**" / "[bc].png")) == [("b", 20), ("c", 30)]
    assert shown([tmp_path / "deep", tmp_path]) == [("c", 30), ("a", 10), ("b", 20)]
    assert shown(np.array(paths)) == [("b", 20), ("a", 10), ("c", 30)]
    # A file whose name is a pattern is that file.
    (tmp_path / "[x].png").write_bytes(encoded("PNG"))
    assert seen(tmp_path / "[x].png")[1].image_id == "[x]"


def test_images_of_data_sets_are_upright_and_keep_their_names(tmp_path):
    data = load_data("synthetic:shapes@val[:2]")
    images, results = seen(data.examples)
    assert [one.image_id for one in results] == [one.image_id for one in data.examples]
    with Image.open(io.BytesIO(data.examples[1].read())) as expected:
        np.testing.assert_array_equal(images[1], expected.convert("RGB"))
    np.testing.assert_array_equal(results[1].read_image(), images[1])


def test_names_are_unique():
    cases = [
        (["x/a.jpg", "y/b.v2.jpg"], ["a", "b.v2"]),
        (["x/train/a.jpg", "x/val/a.jpg", "b.jpg"], ["train/a", "val/a", "b"]),
        (["x/a.jpg", "x/deep/a.jpg"], ["a", "deep/a"]),
        (["x/a.jpg", "x/a.png", "y/a.png"], ["x/a.jpg", "x/a.png", "y/a"]),
        (["a.jpg", "a.jpg", "a_2.jpg"], ["a", "a_2", "a_2_2"]),
        (["https://h.org/p/a%20b.jpg?size=3", "x/c.jpg"], ["a b", "c"]),
        (["https://h.org/p/a.jpg", "https://h.org/q/a.jpg"], ["p/a", "q/a"]),
    ]
    for paths, names in cases:
        assert unique_names(paths) == names
    # The number of an array beside a file of that name.
    assert unique_names(["1.jpg", "2.jpg"], taken=["1"]) == ["1_2", "2"]


def test_addresses_are_downloaded(tmp_path):
    with serving() as server:
        server.files["/photos/my%20cat.png?size=2"] = encoded("PNG", color=(20, 30, 40))
        server.files["/page"] = b"<!doctype html>"
        address = f"{server.address}/photos/my%20cat.png?size=2"
        (image,), result = seen(address)
        assert (image == (20, 30, 40)).all() and result.image_id == "my cat"
        assert (result.read_image() == image).all()
        assert len(server.requests) == 1
        with pytest.raises(ValueError, match=r"/page gave a web page instead of the file"):
            seen([np.zeros((2, 2, 3), np.uint8), f"{server.address}/page"])
        with pytest.raises(ValueError, match=r"^http://127.*/gone\.jpg could not be downloaded"):
            seen(f"{server.address}/gone.jpg")
        for limits in ((50, 60), (10**6, 0.0)):
            with pytest.raises(ValueError, match=r"size=2 took more than .* bytes or .* seconds; "):
                download_bytes(address, *limits)
    with pytest.raises(ValueError, match=r"could not be downloaded \(.*\); check the address and"):
        seen(f"{server.address}/photos/my%20cat.png")
    with pytest.raises(ValueError, match=r"^'s3://b/a\.jpg' is an address of another kind; expect"):
        seen("s3://b/a.jpg")


REFUSED = [
    (
        RGB.transpose(2, 0, 1),
        r"of the shape \(3, 20, 30\) has its channels first; .*: transp",
    ),
    (RGB[..., :2], r"of the shape \(20, 30, 2\) is no image; expected \[H, W, 3\] in 0\.\.255"),
    (RGB[0, 0], r"of the shape \(3,\) is no image"),
    (np.zeros(()), r"of the shape \(\) is no image"),
    (np.zeros((1, 1, 2, 2, 3)), r"of the shape \(1, 1, 2, 2, 3\) is no image"),
    (RGB[:0], r"of the shape \(0, 30, 3\) is empty; expected at least one pixel\.$"),
    (RGB[:, :0], r"of the shape \(20, 0, 3\) is empty"),
    (RGB / 255, r"of the shape \(20, 30, 3\) has values from 0 to 1; expected 0\.\.255: multiply"),
    (np.full((2, 2), 1.0), r"has values from 1 to 1; expected 0\.\.255: multiply by 255\.$"),
    (RGB / 127.5 - 1, r"has values from -1 to 1; expected 0\.\.255: undo its normal"),
    ((RGB / 255 - 0.45) / 0.225, r"has values from -2 to 2\.444; expected 0\.\.255: undo its"),
    (RGB / 240, r"has values from 0 to 1\.06\d; expected 0\.\.255: undo its normal"),
    (RGB - 123.0, r"has values from -123 to 132; expected 0\.\.255\.$"),
    (RGB * 257.0, r"has values from 0 to 6\.554e\+04; expected 0\.\.255\.$"),
    (RGB.astype(int) - 1, r"has values from -1 to 254; expected 0\.\.255\.$"),
    (RGB.astype(np.uint16), r"has values from 0 to 255 in uint16, which is nearly black of 65535"),
    (np.where(RGB > 254, np.nan, RGB), r"has values from nan to nan; expected 0\.\.255\.$"),
    (np.where(RGB > 254, np.inf, RGB), r"has values from 0 to inf; expected 0\.\.255\.$"),
    (RGB.astype(complex), r"of the shape .* holds complex128; expected numbers: uint8 in 0\.\.255"),
    (RGB.astype(object), r"of the shape .* holds object; expected numbers"),
    (tf.keras.Input((2, 2, 3)), r"is a KerasTensor without values; expected \[H, W, 3\]"),
    (Image.new("RGB", (0, 4)), r": is empty; expected at least one pixel"),
    (Image.new("F", (2, 4)), r": its grey levels are floats of 32 bits, whose black and white are"),
    (encoded()[:-20], r": the JPEG file is cut off; expected its end mark"),
    (b"cat.jpg", r": not an image \(it starts with b'cat\.jpg'\); expected JPEG"),
    (b"", r": the file is empty; expected an image"),
    (io.StringIO("text"), r"is a file that is open as text; open it with mode 'rb'\.$"),
]


@pytest.mark.parametrize(("image", "message"), REFUSED)
def test_what_is_no_image_is_refused_in_one_line(image, message):
    name = "(image 1|the array of images)"
    with pytest.raises(ValueError, match=f"^{name}( of the shape .*)? ?{message}") as caught:
        seen([RGB, image])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], r"^the list of images is empty; pass at least one image\.$"),
        (
            None,
            r"^images are of the type NoneType; expected paths, addresses \(https:",
        ),
        (3, r"^images are of the type int; expected"),
        ({"a": RGB}, r"^images are of the type dict; expected"),
        ([RGB, [RGB, RGB]], r"^image 1 is of the type list; expected paths"),
        ([np.stack([RGB, RGB]), (RGB, 3)], r"^image 2 is of the type tuple; expected"),
        (RGB[:0], r"^image 0 of the shape \(0, 30, 3\) is empty"),
        (RGB[None, :0], r"^image 0 of the shape \(0, 30, 3\) is empty"),
        (RGB[None][:0], r"^the list of images is empty"),
        (tf.data.Dataset.from_tensors(RGB).repeat(), r"^the data set of images has no end; pass"),
        (tf.data.Dataset.from_tensors({"x": RGB}), r"^image 0 is of the type dict; expected"),
        ("gone.jpg", r"^image 'gone\.jpg' does not exist; pass a file, a folder or a pattern such"),
        (
            [RGB, "gone/*.jpg"],
            r"^pattern 'gone/\*\.jpg' holds no image; expected files",
        ),
        ("A" * 9000, r"^image 'A+ \.\.\. A+' does not exist; pass"),
    ],
)
def test_what_is_no_list_of_images_is_refused_in_one_line(images, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        seen(images)
    assert len(str(caught.value)) < 700


def test_folders_and_patterns_without_images_are_refused(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    for images in (tmp_path, str(tmp_path / "*.pdf")):
        with pytest.raises(
            ValueError, match=r"holds no image \(1 other file is not read: \.pdf 1\)"
        ):
            seen(images)


@pytest.mark.parametrize("kind", ["file", "bytes", "Pillow", "array"])
def test_deep_images_that_come_out_dark_are_reported(tmp_path, kind):
    levels = np.linspace(0, 4095, 600).reshape(20, 30).astype(np.uint16)
    path = tmp_path / "thermal.png"
    Image.fromarray(levels).save(path)
    images = {
        "file": path,
        "bytes": path.read_bytes(),
        "Pillow": Image.fromarray(levels),
        "array": levels,
    }
    message = r"(thermal\.png|image 0): its levels use 12 of 16 bits, so that it is nearly black"
    with pytest.warns(UserWarning, match=message):
        (image,), _ = seen(images[kind])
    assert image.max() == 15  # 4095 // 256


def test_files_that_vanish_are_named(tmp_path):
    path = Path(tmp_path / "a.png")
    path.write_bytes(encoded("PNG"))

    def images():
        yield path
        path.unlink()
        yield RGB

    with pytest.raises(ValueError, match=r"a\.png: the image is missing; expected a file there"):
        seen(images())
