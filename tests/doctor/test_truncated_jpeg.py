"""JPEGs that were cut and closed again: decoders raise no error, the check finds them."""

import io

import numpy as np
import pytest
from example_records import encoded, example, split_of, textured
from PIL import Image

from ssd_keras.doctor.data_report import check_data
from ssd_keras.doctor.truncated_jpeg import find_pixel_data, missing_row_share

END_MARKER = b"\xff\xd9"
FORMS = {
    "sequential": {},
    "grey": {"mode": "L"},
    "cmyk": {"mode": "CMYK"},
    "no subsampling": {"subsampling": 0},
    "restarts": {"restart_marker_blocks": 5},
    "progressive": {"progressive": True},
}


def jpeg(mode="RGB", image=None, **options) -> bytes:
    """By default of noise, so that every block has as many bytes as the others."""
    if image is None:
        noise = np.random.default_rng(3).integers(0, 256, (240, 320, 3)).astype(np.uint8)
        image = Image.fromarray(noise)
    return encoded(image.convert(mode), quality=90, **options)


def cut(data: bytes, share: float) -> bytes:
    """The first part of the pixels, and the end mark again."""
    pixels = find_pixel_data(data)
    start = data.rindex(b"\xff\xda") if not pixels.has_several_scans else 0
    return data[: start + int(share * (pixels.end - start))] + END_MARKER


def missing(data: bytes) -> float:
    with Image.open(io.BytesIO(data)) as image:
        image.load()  # no error
        return missing_row_share(data, image)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_cut_file_is_found_and_a_whole_one_is_not(form):
    whole = jpeg(**form)
    assert find_pixel_data(whole).end == len(whole) - 2
    assert missing(whole) == 0.0
    assert missing(whole + bytes(5000)) == 0.0  # some cameras pad
    for share in (0.3, 0.4, 0.8):
        found = missing(cut(whole, share))
        # Of a progressive file: the share of the pass in which the data end.
        assert 0 < found <= 1
        if "progressive" not in form:
            assert found == pytest.approx(1 - share, abs=0.08)


def test_the_share_is_that_of_the_grey_rows():
    damaged = cut(jpeg(), 0.5)
    with Image.open(io.BytesIO(damaged)) as image:
        rows = np.asarray(image).reshape(240, -1)
    grey_rows = int((rows == 128).all(axis=1).sum())
    assert 60 < grey_rows < 160
    # The row of blocks in which the data end is half there: 16 rows, and one on either side into
    # which colours are blended.
    assert grey_rows / 240 <= missing(damaged) <= (grey_rows + 18) / 240


def test_grey_content_is_not_damage():
    """A grey lower half, as of an image put onto a grey canvas, and one of a single colour."""
    canvas = Image.new("RGB", (320, 240), (128, 128, 128))
    canvas.paste(textured(4, (320, 120)))
    for image in (canvas, Image.new("RGB", (90, 70), (128, 128, 128)), Image.new("L", (9, 7))):
        for options in ({}, {"progressive": True}):
            assert missing(jpeg(image.mode, image, **options)) == 0.0


def test_the_last_row_of_blocks_may_be_missing():
    """16 of 240 rows: the last 3 % of the data are about half of them."""
    damaged = cut(jpeg(), 0.97)
    with Image.open(io.BytesIO(damaged)) as image:
        assert (np.asarray(image)[-8:, -8:] == 128).all()
    assert missing(damaged) == 0.0


def test_a_thumbnail_has_its_own_end_marker():
    thumbnail = jpeg(image=textured(5, (32, 24)))
    segment = b"\xff\xec" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = jpeg()[:2] + segment + jpeg()[2:]
    assert whole.count(END_MARKER) == 2
    assert find_pixel_data(whole).end == len(whole) - 2
    assert missing(whole) == 0.0 and missing(cut(whole, 0.4)) > 0.3


def test_files_without_supported_pixel_data():
    whole = jpeg()
    assert find_pixel_data(whole[:-2]) is None  # no end mark: the readers report it
    assert find_pixel_data(b"\xff\xd8\xff\xd9") is None
    frame = whole.index(b"\xff\xc0")
    assert find_pixel_data(whole[: frame + 1] + b"\xc9" + whole[frame + 2 :]) is None  # arithmetic


def test_the_check_finds_a_cut_file():
    damaged = cut(jpeg(), 0.5)
    one = example("a", jpeg(image=textured(6, (320, 240))), size=(320, 240))
    report = check_data([split_of(one, example("b", damaged, size=(320, 240)))])
    (found,) = [f for f in report.findings if f.title == "broken images"]
    share = f"{missing(damaged):.0%}"
    assert str(found) == (
        f"b: the data end early: the decoder makes up the last {share} of the rows; copy the file "
        "again"
    )
