"""Broken images, duplicates and near-duplicates."""

import io
import re

import numpy as np
from example_records import damaged, encoded, example, split_of, textured
from PIL import Image

from ssd_keras.doctor.data_report import check_data
from ssd_keras.doctor.duplicates import difference_hash, find_duplicates, fingerprint_image


def test_the_hash_survives_another_size_and_compression():
    image = textured(1)
    bits = difference_hash(image)
    assert bits.dtype == np.uint64 and bits.shape == (4,)
    for other in (
        image.resize((60, 45)),
        Image.open(io.BytesIO(encoded(image, quality=30))),
        image.point(lambda level: level * 0.8),  # darker
    ):
        assert np.bitwise_count(difference_hash(other) ^ bits).sum() <= 24
    others = [
        np.bitwise_count(difference_hash(textured(seed)) ^ bits).sum() for seed in range(2, 30)
    ]
    assert min(others) > 60
    assert difference_hash(Image.new("RGB", (50, 50), (90, 90, 90))) is None


def test_bits_are_set_where_it_gets_brighter_to_the_right():
    ramp = np.tile(np.linspace(0, 255, 170).astype(np.uint8), (160, 1))
    assert difference_hash(Image.fromarray(ramp)).tolist() == [2**64 - 1] * 4
    assert difference_hash(Image.fromarray(ramp[:, ::-1])).tolist() == [0] * 4
    ramp[80:] = ramp[80:, ::-1]  # rows 0 to 7 of 16 rise, the others fall
    assert difference_hash(Image.fromarray(ramp)).tolist() == [2**64 - 1] * 2 + [0] * 2


def test_images_that_cannot_be_decoded_are_found():
    whole = encoded(textured(1, (400, 300)), quality=95)
    assert fingerprint_image(example(image=whole)).error == ""
    assert fingerprint_image(example(image=damaged(whole))).error
    missing = fingerprint_image(example(image="no/such/file.jpg"))
    assert "No such file" in missing.error and missing.checksum == b""


def test_duplicates_within_and_between_splits():
    one, two = encoded(textured(1)), encoded(textured(2))
    again = encoded(textured(1), quality=40)
    flat = [encoded(Image.new("RGB", (30, 30), (level,) * 3)) for level in (90, 200)]
    box = [[10, 10, 30, 30]]
    train = split_of(
        example("a", one, boxes=box), example("b", two), example("c", one), example("d", flat[0])
    )
    val = split_of(example("e", again), example("f", two), example("g", flat[1]), name="val")
    report = check_data([train, val])
    pairs = [(pair.first, pair.second, pair.is_exact) for pair in report.duplicates]
    assert pairs == [
        ((0, 0), (0, 2), True),
        ((0, 1), (1, 1), True),
        ((0, 0), (1, 0), False),
    ]
    found = {finding.title: str(finding) for finding in report.findings}
    assert found["duplicate images"] == "c: is a, with other boxes"
    assert found["images of train that are in val too"] == "f: is b"
    near = found["images of train with near-duplicates in val"]
    assert re.fullmatch(r"e: looks like a \(\d+ of 256 bits differ\)", near)


def test_no_image_is_its_own_duplicate():
    prints = [[fingerprint_image(example(image=encoded(textured(seed)))) for seed in range(6)]]
    assert find_duplicates(prints) == []
