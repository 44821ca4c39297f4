"""Images that are read otherwise than they look."""

import warnings
from collections import Counter

import numpy as np
import pytest
from datasets import image_bytes, voc_object, write_voc
from example_records import encoded, example, split_of, textured
from PIL import Image

from ssd_keras.cli import main
from ssd_keras.doctor.findings import FindingKind
from ssd_keras.doctor.findings_text import findings_text
from ssd_keras.doctor.image_findings import image_findings, is_misnamed


def findings(*images, kind=None):
    """(group, detail) of each finding on images of encoded bytes or paths."""
    found = image_findings([split_of(*[example(n, image) for n, image in enumerate(images)])])
    assert all(finding.kind is kind for finding in found)
    return [(finding.group, finding.detail) for finding in found]


def see_through(color, share=0.5, mode="RGBA"):
    """An image whose upper part is see-through, with a colour beneath."""
    pixels = np.full((100, 50, 4), 255, np.uint8)
    pixels[: round(100 * share)] = (*color, 0)
    return encoded(Image.fromarray(pixels).convert(mode), "PNG")


# an image and the finding's group and detail, () for none
TRANSPARENCY = {
    "black beneath": (see_through((0, 0, 0)), [("black beneath", "50% of its pixels")]),
    "white beneath": (see_through((255, 250, 255)), [("white beneath", "50% of its pixels")]),
    "grey beneath": (see_through((99, 90, 99), 0.3), [("grey beneath", "30% of its pixels")]),
    "a colour": (see_through((200, 0, 0), 0.3), [("a colour beneath", "30% of its pixels")]),
    "a twentieth": (see_through((0, 0, 0), 0.05), [("black beneath", "5% of its pixels")]),
    "less": (see_through((0, 0, 0), 0.04), []),
    "grey levels with transparency": (
        see_through((0, 0, 0), mode="LA"), [("black beneath", "50% of its pixels")]
    ),
    "an opaque fourth channel": (encoded(textured(0).convert("RGBA"), "PNG"), []),
    "no transparency": (encoded(textured(0)), []),
    "broken": (b"no image", []),
}  # fmt: skip


@pytest.mark.parametrize(("image", "expected"), TRANSPARENCY.values(), ids=TRANSPARENCY)
def test_see_through_pixels_are_found_with_the_colour_beneath(image, expected):
    kind = FindingKind.SEE_THROUGH if expected else None
    assert findings(image, kind=kind) == expected


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_see_through_colours_of_a_palette_are_found(kind):
    image = Image.new("P", (40, 40))
    image.putpalette([255, 255, 255, 9, 9, 9])
    image.paste(1, (0, 0, 40, 20))
    encoded_image = encoded(image, kind, transparency=0)
    (found,) = findings(encoded_image, kind=FindingKind.SEE_THROUGH)
    assert found == ("white beneath", "50% of its pixels")


def test_several_colours_beneath():
    pixels = np.array(textured(0).convert("RGBA"))
    pixels[..., 3] = 0
    (found,) = findings(encoded(Image.fromarray(pixels), "PNG"), kind=FindingKind.SEE_THROUGH)
    assert found == ("several colours beneath", "100% of its pixels")


def grey(largest):
    return encoded(
        Image.fromarray(np.linspace(0, largest, 600).astype(np.uint16).reshape(20, 30)), "PNG"
    )


def test_grey_levels_of_few_of_16_bits_are_found():
    twelve, ten = (f"{bits} of 16 bits used" for bits in (12, 10))
    assert findings(grey(4095), grey(1023), kind=FindingKind.DARK) == [
        (twelve, "no grey level above 15 of 255 is seen"),
        (ten, "no grey level above 3 of 255 is seen"),
    ]
    assert findings(grey(65535), grey(40000), encoded(textured(0).convert("L"), "PNG")) == []


# a path, the file's format, and whether the extension is that of another
NAMES = {
    ("a.jpg", "PNG"): True,
    ("a.JPG", "PNG"): True,
    ("a.png", "JPEG"): True,
    ("a.jpg", "WebP"): True,
    ("a.jpeg", "JPEG"): False,
    ("a.mpo", "JPEG"): False,
    ("a.TIF", "TIFF"): False,
    ("a", "PNG"): False,
    ("a.dat", "PNG"): False,
}


@pytest.mark.parametrize(("path", "format_name", "expected"), [(*k, v) for k, v in NAMES.items()])
def test_extensions_of_another_format(path, format_name, expected):
    assert is_misnamed(path, format_name) is expected


def test_files_with_a_wrong_extension_are_counted_by_both(tmp_path):
    spec = write_voc(tmp_path, {stem: [voc_object()] for stem in "abcd"})
    folder = tmp_path / "JPEGImages"
    for stem in "abc":
        (folder / f"{stem}.jpg").write_bytes(image_bytes("PNG"))
    from ssd_keras.data.splits import load_splits

    found = image_findings(load_splits([spec]))
    assert Counter((each.kind, each.group) for each in found) == {
        (FindingKind.MISNAMED, "PNG named .jpg"): 3
    }
    lines = findings_text(found, str(tmp_path)).splitlines()
    assert lines[2] == "    PNG named .jpg: 3, the first JPEGImages/a.jpg: is PNG"


def test_no_warning_of_another_library_reaches_the_user(tmp_path, capfd):
    """Pillow warns of palettes with transparency in bytes, of EXIF data and of large images."""
    spec = write_voc(tmp_path, {"a": [voc_object()], "b": [voc_object()]}, size=(0, 0))
    palette = textured(1).quantize(16)
    palette.info["transparency"] = bytes([0, 128] * 8)
    for stem, image in (
        ("a", encoded(palette, "PNG")),
        ("b", encoded(textured(2), exif=b"Exif\0\0II*\0\xff")),
    ):
        (tmp_path / "JPEGImages" / f"{stem}.jpg").write_bytes(image)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(["data", "check", spec]) == 0
    assert [str(each.message) for each in caught] == []
    assert capfd.readouterr().err == ""
