"""Prediction on image files: drawings, detections.json and images that cannot be read."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from trainings import StubDetector, encoded

from ssd_keras.core.images import read_image
from ssd_keras.data.problems import ProblemKind, problem_lines
from ssd_keras.engine.image_paths import find_images, other_files
from ssd_keras.engine.predict import num_reaching, predict, unique_stems

UPPER = ([[0.0, 0.0, 0.5, 1.0]], [0.9], [0])


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def test_files_and_folders_are_found_once(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "B.TXT", "deeper/c.jpg", "._a.png"):
        write(tmp_path / "folder" / name, encoded())
    alone = write(tmp_path / "any-name", encoded())
    found = find_images([alone, str(tmp_path / "folder"), str(tmp_path / "folder" / "b.JPG")])
    assert found == [alone, *(str(tmp_path / "folder" / name) for name in ("a.png", "b.JPG"))]
    others = "3 other files are not read: .txt 2, folders 1"
    assert other_files([alone, str(tmp_path / "folder")]) == others
    assert other_files([alone]) == ""


def test_nothing_to_look_at_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"^folder '.*empty' holds no image; expected files"):
        find_images([str(tmp_path / "empty")])
    write(tmp_path / "empty" / "a.pdf", b"%PDF")
    with pytest.raises(
        ValueError, match=r"empty' holds no image \(1 other file is not read: .pdf 1\);"
    ):
        find_images([str(tmp_path / "empty")])
    with pytest.raises(FileNotFoundError, match=r"^image '.*gone.jpg' does not exist; pass a fi"):
        find_images([str(tmp_path / "gone.jpg")])


def test_stems_that_clash_get_numbers():
    files = ["a/cat.jpg", "b/cat.png", "c/cat_2.jpg", "d/cat.gif", "e/v1.2.jpg"]
    names = unique_stems(files)
    assert names == dict(zip(["cat", "cat_2", "cat_2_2", "cat_3", "v1.2"], files, strict=True))


def test_names_as_long_as_file_systems_allow(tmp_path):
    files = [
        write(tmp_path / ending / ("é" * 125 + ending), encoded()) for ending in (".jpg", ".png")
    ]
    found, _ = predict(StubDetector([UPPER]), files, str(tmp_path / "output"))
    assert [one["image_id"] for one in found] == ["é" * 120, "é" * 120 + "_2"]
    assert len(os.listdir(tmp_path / "output")) == 3


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


def test_the_detector_s_thresholds_are_drawn_by_class_unless_others_are_given(tmp_path):
    path = write(tmp_path / "cat.png", encoded("PNG"))
    boxes = [[0.5, 0.5, 0.9, 0.9], [0.1, 0.1, 0.3, 0.3]]
    detector = StubDetector([(boxes, [0.7, 0.25], [1, 0])])  # a car and a dog
    detector.display_threshold = (0.2, 0.71)
    for number, options in enumerate(({}, {"display_threshold": 0.7})):
        output = tmp_path / f"{number}"
        found, _ = predict(detector, [path], str(output), **options)
        drawing = np.asarray(Image.open(output / "cat.jpg"), int)
        is_drawn = [
            bool(np.abs(drawing[rows, columns] - 90).max() > 60)
            for rows, columns in ((slice(40, 72), slice(50, 90)), (slice(4, 30), slice(4, 36)))
        ]
        # The car has less than 0.71, the dog less than 0.7.
        assert is_drawn == [number == 1, number == 0]
    assert num_reaching(found, (0.2, 0.71), ("dog", "car")) == 1
    assert num_reaching(found, 0.7, ("dog", "car")) == 1  # of float32
    assert num_reaching(found, 0.25, ("dog", "car")) == 2


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
    (folder / "f_link.jpg").symlink_to(folder / "gone.jpg")
    write(folder / "g_phone.heic", b"\0\0\0\x18ftypheic" + bytes(20))
    write(folder / "h_good.png", encoded("PNG"))
    write(folder / "i_large.png", encoded("PNG", size=(300, 200)))
    detections, problems = predict(
        StubDetector([UPPER]),
        [str(folder)],
        str(tmp_path / "output"),
        max_pixels=50_000,
    )
    assert [one["image_id"] for one in detections] == ["b_good", "h_good"]
    assert sorted(os.listdir(tmp_path / "output")) == [
        "b_good.jpg",
        "detections.json",
        "h_good.jpg",
    ]
    assert problem_lines(problems) == [
        f"broken images: 4 images dropped; first {folder}/a_empty.jpg: the file is empty; expected "
        f"an image; also {folder}/c_cut.jpg, {folder}/d_damaged.png and 1 more",
        "missing images: 2 images dropped; first "
        f"{folder}/f_folder.jpg: the image is missing; expected a file there; also "
        f"{folder}/f_link.jpg",
        f"{folder}/g_phone.heic: HEIC is not read; convert it to JPEG or PNG; dropped",
        f"{folder}/i_large.png: has 0.06 megapixels; more than 0.05 are not read: cut it into "
        "tiles, or raise max_pixels (--max-pixels); dropped",
    ]


def test_only_broken_images_are_an_error(tmp_path):
    paths = [write(tmp_path / f"{i}.jpg", b"") for i in range(2)]
    message = r"^none of 2 images could be read; broken images: 2 images dropped; first .*0\.jpg: t"
    with pytest.raises(ValueError, match=message):
        predict(StubDetector([UPPER]), paths, str(tmp_path / "output"))
    assert not (tmp_path / "output" / "detections.json").exists()


@pytest.mark.parametrize(("bits", "is_dark"), [(8, True), (12, True), (14, True), (15, False)])
def test_sixteen_bit_images_that_come_out_dark_are_told(tmp_path, bits, is_dark):
    """Thermal and depth cameras store 12 or 14 bits in files of 16."""
    levels = np.linspace(0, 2**bits - 1, 600).reshape(20, 30).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        path = str(tmp_path / f"thermal.{kind}")
        Image.fromarray(levels).save(path, kind)
        _, problems = predict(StubDetector([UPPER]), [path], str(tmp_path / "output"))
        assert [problem.kind for problem in problems] == [ProblemKind.DARK] * is_dark
        assert not any(problem.is_loss for problem in problems)
        assert not is_dark or str(problems[0]) == (
            f"{path}: its levels use {bits} of 16 bits, so that it is nearly black; scale the "
            "levels of all images by the sensor's range; read as it is"
        )


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
