"""Prediction on image files: drawings, detections.json and images that cannot be read."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from trainings import StubDetector, encoded

from ssd_keras.engine.predict import find_images, predict, read_image, unique_stems

UPPER = ([[0.0, 0.0, 0.5, 1.0]], [0.9], [0])


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def test_files_and_folders_are_found_once(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "deeper/c.jpg"):
        write(tmp_path / "folder" / name, encoded())
    alone = write(tmp_path / "any-name", encoded())
    found = find_images([alone, str(tmp_path / "folder"), str(tmp_path / "folder" / "b.JPG")])
    assert found == [alone, *(str(tmp_path / "folder" / name) for name in ("a.png", "b.JPG"))]


def test_nothing_to_look_at_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"^directory '.*empty' holds no image; expected files"):
        find_images([str(tmp_path / "empty")])
    with pytest.raises(FileNotFoundError, match=r"^image '.*gone.jpg' does not exist; pass a fi"):
        find_images([str(tmp_path / "gone.jpg")])


def test_stems_that_clash_get_numbers():
    files = ["a/cat.jpg", "b/cat.png", "c/cat_2.jpg", "d/cat.gif", "e/v1.2.jpg"]
    names = unique_stems(files)
    assert names == dict(zip(["cat", "cat_2", "cat_2_2", "cat_3", "v1.2"], files, strict=True))


def test_detections_and_drawings_of_every_image(tmp_path):
    # Images of 100x80 (width x height) in two batches, the second of one image.
    paths = [
        write(tmp_path / "one" / "cat.jpg", encoded()),
        write(tmp_path / "two" / "cat.png", encoded("PNG")),
        write(tmp_path / "two" / "dog.bmp", encoded("BMP", size=(40, 120))),
    ]
    boxes = [[0.5, 0.5, 0.9, 0.9], [0.1, 0.1, 0.3, 0.3]]
    detector = StubDetector([(boxes, [0.75, 0.25], [1, 0])])
    output = tmp_path / "deep" / "output"
    detections, problems = predict(
        detector, paths, str(output), display_threshold=0.5, batch_size=2
    )
    assert problems == []
    written = sorted(os.listdir(output))
    assert written == ["cat.jpg", "cat_2.jpg", "detections.json", "dog.jpg"]
    assert json.loads((output / "detections.json").read_text()) == detections
    assert [(one["image_id"], one["category_name"], one["score"]) for one in detections] == [
        (name, label, value)
        for name in ("cat", "cat_2", "dog")
        for label, value in (("car", 0.75), ("dog", 0.25))
    ]
    # 0.5 * 100, 0.5 * 80, 0.4 * 100, 0.4 * 80; then of 40x120
    assert detections[0]["bbox"] == pytest.approx([50, 40, 40, 32], abs=1e-4)
    assert detections[4]["bbox"] == pytest.approx([20, 60, 16, 48], abs=1e-4)
    drawing = np.asarray(Image.open(output / "cat.jpg"), int)
    assert drawing.shape == (80, 100, 3)
    assert np.abs(drawing[4:30, 4:36] - 90).max() < 20  # the faint one is not drawn
    assert np.abs(drawing[40:72, 50:90] - 90).max() > 60


def test_all_detections_are_drawn_from_zero_and_no_empty_slot(tmp_path):
    path = write(tmp_path / "cat.png", encoded("PNG"))
    detector = StubDetector([([[0.5, 0.5, 0.9, 0.9]], [0.25], [1])])
    predict(detector, [path], str(tmp_path / "output"), display_threshold=0.0)
    drawing = np.asarray(Image.open(tmp_path / "output" / "cat.jpg"), int)
    assert np.abs(drawing[40:72, 50:90] - 90).max() > 60
    assert np.abs(drawing[:24, :40] - 90).max() < 20  # unused slots have zero boxes


def test_a_turned_image_is_seen_and_reported_upright(tmp_path):
    # Stored 60x40 with a white upper half; orientation 6 turns it clockwise, to 40x60 with a
    # white right half.
    stored = Image.fromarray(np.repeat([[[255] * 3], [[0] * 3]], 20, axis=0).astype("uint8"))
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.resize((60, 40), Image.Resampling.NEAREST).save(buffer, "JPEG", exif=exif, quality=95)
    path = write(tmp_path / "phone.jpg", buffer.getvalue())
    detector = StubDetector([UPPER])
    detections, _ = predict(detector, [path], str(tmp_path / "output"))
    assert detections[0]["bbox"] == pytest.approx([0, 0, 40, 30])
    (seen,) = detector.images
    assert seen[:, 30:].min() > 240 and seen[:, :18].max() < 15
    with Image.open(tmp_path / "output" / "phone.jpg") as drawing:
        assert drawing.size == (40, 60)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grey.png", encoded("PNG", mode="L")),
        ("grey.jpg", encoded("JPEG", mode="L")),
        ("palette.png", encoded("PNG", mode="P")),
        ("transparent.png", encoded("PNG", mode="RGBA")),
        ("plain.bmp", encoded("BMP")),
        ("palette.gif", encoded("GIF", mode="P")),
        ("jpeg-named.png", encoded("JPEG")),
    ],
)
def test_every_kind_of_image_is_seen_in_its_colours(tmp_path, name, content):
    image = read_image(write(tmp_path / name, content))
    assert image.shape == (80, 100, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - 90).max() <= 1


def test_broken_images_are_left_out_and_told(tmp_path):
    folder = tmp_path / "images"
    damaged = bytearray(encoded("PNG"))
    damaged[45:60] = bytes(15)  # within the pixels: the header is sound
    write(folder / "a_empty.jpg", b"")
    write(folder / "b_good.jpg", encoded())
    write(folder / "c_cut.jpg", encoded()[:-20])
    write(folder / "d_damaged.png", bytes(damaged))
    write(folder / "e_text.png", b"this is no image")
    (folder / "f_folder.jpg").mkdir()
    write(folder / "g_good.png", encoded("PNG"))
    detections, problems = predict(
        StubDetector([UPPER]), [str(folder)], str(tmp_path / "output"), batch_size=1
    )
    assert [one["image_id"] for one in detections] == ["b_good", "g_good"]
    assert sorted(os.listdir(tmp_path / "output")) == [
        "b_good.jpg",
        "detections.json",
        "g_good.jpg",
    ]
    expected = [
        r"a_empty.jpg: cannot be read as an image (the file is empty; expected an image)",
        r"c_cut.jpg: cannot be read as an image (the JPEG file is cut off; expected its end mark",
        r"d_damaged.png: cannot be read as an image (",
        r"e_text.png: cannot be read as an image (not an image (it starts with b'this is ')",
        r"f_folder.jpg: cannot be read as an image (the image is missing; expected a file",
    ]
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(f"{folder}/{start}") and problem.endswith("; dropped")
        assert "\n" not in problem


def test_only_broken_images_are_an_error(tmp_path):
    paths = [write(tmp_path / f"{i}.jpg", b"") for i in range(2)]
    message = r"^none of 2 images could be read; first: .*0\.jpg: cannot be read as an image"
    with pytest.raises(ValueError, match=message):
        predict(StubDetector([UPPER]), paths, str(tmp_path / "output"))
    assert not (tmp_path / "output" / "detections.json").exists()


def test_drawings_never_overwrite_the_images(tmp_path):
    content = encoded()
    path = write(tmp_path / "cat.jpg", content)
    (tmp_path / "here").symlink_to(tmp_path)
    for output in (tmp_path, tmp_path / "here"):
        message = (
            r"^output '.*' holds the image 'cat\.jpg', which a drawing might overwrite; choose"
        )
        with pytest.raises(ValueError, match=message):
            predict(StubDetector([UPPER]), [path], str(output))
    with open(path, "rb") as file:
        assert file.read() == content
