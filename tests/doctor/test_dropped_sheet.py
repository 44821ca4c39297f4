"""The sheet of what readers dropped."""

import numpy as np
import pytest
from datasets import coco_image, coco_object, voc_object, write_coco, write_voc
from example_records import encoded
from PIL import Image

from ssd_keras.cli import main
from ssd_keras.data.splits import load_splits
from ssd_keras.doctor.dropped_sheet import dropped_images

SIZE = (320, 240)


def splits_of(tmp_path, objects, images=None):
    """A set whose images are grey, 320 x 240; objects are (image, bbox)."""
    count = 1 + max(image for image, _ in objects)
    listed = images or [coco_image(n, width=320, height=240) for n in range(count)]
    boxes = [
        coco_object(number, image_id=image, bbox=box) for number, (image, box) in enumerate(objects)
    ]
    spec = write_coco(tmp_path, listed, [*boxes, coco_object(99, image_id=0)])
    for image in listed:
        grey = Image.new("RGB", SIZE, (128, 128, 128))
        (tmp_path / "images" / image["file_name"]).write_bytes(encoded(grey, quality=95))
    return load_splits([spec])


def red_rows_and_columns(image):
    """The first and last row and column of red pixels, without the tag."""
    red = (image[..., 0] > 200) & (image[..., 1] < 90)
    return [(int(each.min()), int(each.max())) for each in np.nonzero(red)]


# a box, and the part of the image in which it is drawn: first and last row and column
PLACES = {
    "no area": ([100, 200, 0, 0], (160, 215), (85, 175)),
    "right of the image": ([400, 100, 30, 60], (75, 165), (245, 319)),
    "above the image": ([100, -90, 60, 40], (0, 30), (95, 165)),
    "over its edge": ([250, 150, 100, 30], (125, 185), (245, 319)),
}


@pytest.mark.parametrize(("box", "rows", "columns"), PLACES.values(), ids=PLACES)
def test_a_dropped_box_is_drawn_red_where_it_lay(tmp_path, box, rows, columns):
    ((image, caption),) = dropped_images(splits_of(tmp_path, [(0, box)]))
    assert image.shape == (240, 320, 3) and caption.startswith("0.jpg: boxes ")
    for (first, last), (low, high) in zip(
        red_rows_and_columns(image), (rows, columns), strict=True
    ):
        assert low <= first < last <= high


def test_boxes_of_one_kind_in_one_image_share_a_picture(tmp_path):
    boxes = [(0, [9, 9, 0, 0]), (0, [99, 99, 0, 0]), (1, [400, 9, 20, 20])]
    captions = [caption for _, caption in dropped_images(splits_of(tmp_path, boxes))]
    assert captions == ["0.jpg: boxes of no area (2)", "1.jpg: boxes outside their image"]


def test_twelve_images_with_every_kind(tmp_path):
    boxes = [(n, [9, 9, 0, 0]) for n in range(20)] + [(20, [400, 9, 20, 20])]
    captions = [caption for _, caption in dropped_images(splits_of(tmp_path, boxes))]
    assert len(captions) == 12
    assert captions[:2] == ["0.jpg: boxes of no area", "20.jpg: boxes outside their image"]


def test_a_dropped_image_is_shown_if_it_decodes(tmp_path):
    images = [coco_image(n, width=320, height=240 + n) for n in range(3)]
    splits = splits_of(tmp_path, [(2, [9, 9, 40, 40])], images)
    (tmp_path / "images" / "2.jpg").write_bytes(b"")
    ((image, caption),) = dropped_images(splits)
    assert caption == "1.jpg: images of another size than annotated"
    assert image.shape == (240, 320, 3)


def test_turned_images_are_shown_as_annotated(tmp_path):
    """Stored 320 x 240, upright 240 x 320, which is what the annotations describe."""
    exif = Image.Exif()
    exif[0x0112] = 6
    objects = [coco_object(0, image_id=0, bbox=[300, 9, 9, 9])]
    spec = write_coco(tmp_path, [coco_image(0, width=240, height=320)], objects)
    stored = Image.new("RGB", SIZE, (128, 128, 128))
    stored.paste((0, 0, 200), (0, 0, 60, 60))  # upright the upper right corner
    (tmp_path / "images" / "0.jpg").write_bytes(encoded(stored, quality=95, exif=exif))
    ((image, _),) = dropped_images(load_splits([spec]))
    assert image.shape == (320, 240, 3)
    assert image[55, 185].tolist() == pytest.approx([0, 0, 200], abs=9)
    assert image[55, 55].tolist() == pytest.approx([128, 128, 128], abs=9)


def test_nothing_dropped_gives_no_sheet(tmp_path):
    assert list(dropped_images(splits_of(tmp_path, [(0, [9, 9, 40, 40])]))) == []


def test_a_box_that_the_reader_cannot_use_is_drawn_too(tmp_path):
    """Corners that are equal or swapped: VOC's reader makes no box of them."""
    objects = [voc_object(corners=(30, 40, 30, 60)), voc_object(corners=(90, 20, 70, 50))]
    splits = load_splits(
        [write_voc(tmp_path, {"a": [*objects, voc_object()], "b": [voc_object()]})]
    )
    found = dict((caption, image) for image, caption in dropped_images(splits))
    assert "a.jpg: boxes of no area" in found
    (top, bottom), (left, right) = red_rows_and_columns(found["a.jpg: boxes of no area"])
    assert top < 42 and bottom > 56 and left < 31 and right > 29


def test_the_command_writes_the_sheet(tmp_path, capsys):
    splits_of(tmp_path, [(0, [9, 9, 0, 0])])
    spec = f"coco:{tmp_path}/instances.json@{tmp_path}/images"
    assert main(["data", "check", spec, "--plots", str(tmp_path / "plots")]) == 0
    assert "dropped.png" in capsys.readouterr().out
    with Image.open(tmp_path / "plots" / "dropped.png") as sheet:
        assert sheet.width > 320
