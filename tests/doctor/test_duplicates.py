"""Broken images, duplicates and near-duplicates."""

from example_records import damaged, encoded, example, split_of, textured
from PIL import Image

from ssd_keras.doctor.data_report import check_data
from ssd_keras.doctor.duplicates import (
    connected_groups,
    duplicate_findings,
    find_duplicates,
    fingerprint_image,
    fingerprint_images,
)


def test_images_that_cannot_be_decoded_are_found():
    whole = encoded(textured(1, (400, 300)), quality=95)
    assert fingerprint_image(example(image=whole)).error == ""
    assert fingerprint_image(example(image=damaged(whole))).error
    png = encoded(textured(1, (40, 30)), kind="PNG")
    assert fingerprint_image(example(image=png)).error == ""
    wrong = png[:-14] + b"??" + png[-12:]  # Pillow decodes it all the same, libpng does not
    assert "bad header checksum in b'IDAT'" in fingerprint_image(example(image=wrong)).error
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
    groups = [(group.members, group.is_exact) for group in report.duplicates]
    assert groups == [
        ([(0, 0), (1, 0), (0, 2)], False),
        ([(0, 1), (1, 1)], True),
        ([(0, 0), (0, 2)], True),
    ]
    assert 0.97 < report.duplicates[0].min_correlation < 1
    found = {finding.title: str(finding) for finding in report.findings}
    assert found["groups of duplicates (2 images)"] == "a: is c, with other boxes"
    assert found["groups of duplicates across train and val (2 images)"] == "b: is f (val)"
    near = found["groups of near-duplicates across train and val (3 images)"]
    assert near == "a: looks like e (val), c (train) (correlation 1.00 or more)"


def test_the_most_alike_pair_of_two_splits_comes_first():
    """Compressed more and more, but the last one, which alone is in the other split."""
    versions = [encoded(textured(1), quality=quality) for quality in (95, 90, 40, 30, 5)]
    train = split_of(*(example(str(n), version) for n, version in enumerate(versions[:4])))
    val = split_of(example("5", versions[4]), name="val")
    prints = fingerprint_images([train, val])
    (group,) = find_duplicates(prints)
    assert group.members[0][0] == 0 and group.members[1] == (1, 0) and len(group.members) == 5
    (inside,) = find_duplicates(prints[:1])
    assert inside.members == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert inside.min_correlation > group.min_correlation


def test_a_group_is_one_line_with_its_folder_once(tmp_path):
    for number in range(7):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(textured(1), quality=90 - 9 * number))
    split = split_of(*(example(str(n), str(tmp_path / f"{n}.jpg")) for n in range(7)))
    groups = find_duplicates(fingerprint_images([split]))
    (finding,) = duplicate_findings([split], groups)
    alike = "looks like 1.jpg, 2.jpg, 3.jpg and 3 more (correlation 1.00 or more)"
    assert str(finding) == f"{tmp_path}/0.jpg: {alike}"
    assert finding.title == "groups of near-duplicates (7 images)"


def test_pairs_join_into_groups():
    assert connected_groups(7, [(5, 6), (1, 4), (4, 6)]) == [[0], [1, 4, 5, 6], [2], [3]]
    assert connected_groups(5, [(0, 3), (3, 4)]) == [[0, 3, 4], [1], [2]]
    assert connected_groups(2, []) == [[0], [1]]


def test_no_image_is_its_own_duplicate():
    prints = [[fingerprint_image(example(image=encoded(textured(seed)))) for seed in range(6)]]
    assert find_duplicates(prints) == []
