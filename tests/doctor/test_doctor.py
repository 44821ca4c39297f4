"""The doctor of data sets: what it counts, what it finds wrong, and the copy that it mends."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from datasets import coco_object, image_bytes, voc_object, write_coco, write_voc
from PIL import Image

from ssd_keras import cli
from ssd_keras.data import DetectionData, Example, ProblemKind, load_data
from ssd_keras.data.splits import Split, load_splits
from ssd_keras.doctor.data_report import examine
from ssd_keras.doctor.duplicates import find_twins, image_bits, take_fingerprint
from ssd_keras.doctor.findings import (
    FindingKind,
    box_findings,
    disputed_boxes,
    reader_findings,
    repeated_boxes,
)
from ssd_keras.doctor.fix import cleaned, describe_kept
from ssd_keras.doctor.shift import edge_counts, shift_findings
from ssd_keras.doctor.statistics import count_classes, histogram


def textured(seed: int, size=(120, 90)) -> Image.Image:
    """An image like no other: soft noise of 12 by 9 spots."""
    spots = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def damaged(encoded_image: bytes) -> bytes:
    """Broken between its two ends, which readers look at."""
    middle = len(encoded_image) // 2
    return encoded_image[:middle] + b"\xff" * 600 + encoded_image[middle + 600 :]


def example(image_id="a", image=None, boxes=(), labels=None, crowd=None, size=(120, 90)) -> Example:
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    count = len(boxes)
    return Example(
        image_id=image_id,
        image=encoded(textured(0, size)) if image is None else image,
        height=size[1],
        width=size[0],
        boxes=boxes,
        labels=np.array([0] * count if labels is None else labels, np.int32),
        is_difficult=np.zeros(count, bool),
        is_crowd=np.array([False] * count if crowd is None else crowd, bool),
        areas=boxes[:, 2] * boxes[:, 3],
    )


def split_of(*examples: Example, name="train", names=("dog", "cat"), problems=()) -> Split:
    return Split(name, DetectionData(names, examples, tuple(problems)))


def kinds(findings) -> dict[str, int]:
    found: dict[str, int] = {}
    for finding in findings:
        found[finding.title] = found.get(finding.title, 0) + 1
    return found


# --- counts ---


def test_classes_are_counted_and_measured():
    first = example("a", boxes=[[0, 0, 20, 5], [0, 0, 10, 40], [1, 1, 30, 30]], labels=[0, 1, 0])
    second = example("b", boxes=[[5, 5, 40, 10]], labels=[0])
    third = example("c")
    dog, cat, bird, total = count_classes(
        DetectionData(("dog", "cat", "bird"), (first, second, third))
    )
    assert (dog.name, dog.objects, dog.images, dog.difficult) == ("dog", 3, 2, 0)
    # Sides of the dogs: sqrt(20 * 5) = 10, 30, sqrt(40 * 10) = 20; aspects 4, 1, 4.
    # Percentile 10 of 10, 20, 30 lies a fifth of the way from 10 to 20; 90 of 1, 4, 4 is 4.
    np.testing.assert_allclose(dog.sides, (12, 20, 28))
    np.testing.assert_allclose(dog.aspects, (1 + 0.2 * 3, 4, 4))
    assert (cat.objects, cat.sides[1], cat.aspects[1]) == (1, 20, 0.25)
    assert (bird.objects, bird.images) == (0, 0) and np.isnan(bird.sides).all()
    assert (total.name, total.objects, total.images) == ("all", 4, 2)
    assert histogram(np.array([7.9, 8, 31, 32, 999]), (8, 16, 32)) == [1, 1, 1, 2]


# --- boxes ---


def test_an_object_annotated_twice_is_found_once_for_each_copy():
    boxes = [
        [10, 10, 40, 40],
        [50, 10, 20, 20],
        [11, 10, 40, 40],
        [10, 10, 40, 40],
        [10, 10, 40, 36],
    ]
    # Of box 2 with box 0: 39 * 40 / (2 * 1600 - 1560) = 0.951; of box 4: 36 / 40 = 0.9.
    assert repeated_boxes(example(boxes=boxes)) == {2: 0, 3: 0, 4: 0}
    # 8 pixels off: 32 / 48 = 0.67 is another object.
    assert repeated_boxes(example(boxes=[[10, 10, 40, 40], [18, 10, 40, 40]])) == {}


def test_crowds_and_other_classes_repeat_nothing():
    boxes = [[10, 10, 40, 40]] * 2
    assert repeated_boxes(example(boxes=boxes, crowd=[True, False])) == {}
    both = example(boxes=boxes, labels=[1, 0])
    assert repeated_boxes(both) == {}
    assert disputed_boxes(both) == {1: 0}
    (finding,) = box_findings(DetectionData(("dog", "cat"), (both,)))
    assert finding.kind is FindingKind.DISPUTED
    assert str(finding) == "a: object 2 (dog) lies on object 1 (cat)"


SHIFTS = {
    # VOC files that count from 0: the leftmost xmin is 0, which reads as -1; the last column too.
    "voc from 0": (-1, -1, [("left and top edges are -1"), ("right and bottom edges are -1")]),
    "coco with VOC's corners": (1, 0, [("left and top edges are +1 pixel from 0")]),
    "none": (0, 0, []),
}


@pytest.mark.parametrize(("begin", "end", "words"), SHIFTS.values(), ids=SHIFTS)
def test_boxes_that_are_a_pixel_off_are_told_by_the_edges(begin, end, words):
    # At the left edge, at the right edge, and one in the middle; 120 x 90 pixels.
    boxes = [[begin, 30, 40, 20], [60, 30, 60 + end, 20], [begin, begin, 30, 20], [50, 40, 9, 9]]
    boxes += [[60, 50, 60 + end, 40 + end]]
    split = split_of(*[example(boxes=boxes) for _ in range(3)])
    begins, ends = edge_counts(split.data)
    # Three images with a left edge, and one box with both left and top: 3 * 3 begins; 3 * 3 ends.
    assert begins == {begin: 9}
    assert ends == {end: 9}
    found = [str(finding) for finding in shift_findings(split)]
    assert len(found) == len(words)
    for text, expected in zip(found, words, strict=True):
        assert text.startswith("train: 9 of 9 boxes at the ") and expected in text


# Of 120 x 90 pixels, at the left edge, at the right edge and in the middle: as read, and mended.
MENDED = {
    "voc from 0": (
        -1,
        -1,  # both edges of all boxes go one pixel right and down
        [[-1, 30, 40, 20], [60, 30, 59, 20], [50, 40, 9, 9]],
        [[0, 31, 40, 20], [61, 31, 59, 20], [51, 41, 9, 9]],
    ),
    "coco with VOC's corners": (
        1,
        0,  # left and top edges alone go one pixel left and up
        [[1, 30, 40, 20], [60, 30, 60, 20], [50, 40, 9, 9]],
        [[0, 29, 41, 21], [59, 29, 61, 21], [49, 39, 10, 10]],
    ),
    "none": (0, 0, *[[[0, 30, 40, 20], [60, 30, 60, 20], [50, 40, 9, 9]]] * 2),
}


@pytest.mark.parametrize(("begin", "end", "boxes", "expected"), MENDED.values(), ids=MENDED)
def test_boxes_that_are_a_pixel_off_are_moved(begin, end, boxes, expected):
    one = example(boxes=boxes)
    one.areas[2] = 50.0  # of a mask
    examination = examine([split_of(*[replace(one, image_id=str(n)) for n in range(6)])])
    (split,), changes = cleaned(examination)
    found = split.data.examples[0]
    assert found.boxes.tolist() == expected
    assert found.areas[2] == 50.0 and found.areas[1] == expected[1][2] * expected[1][3]
    assert ("boxes moved by a pixel: 3" in changes) == bool(begin)
    # Mended, it is no longer found.
    again = examine([split])
    assert not [f for f in again.findings if "shifted" in f.title]
    told = [str(f) for f in examination.findings if f.kind is FindingKind.SHIFTED]
    assert len(told) == sum(map(bool, (begin, end)))
    assert all(
        "; --fix moves these edges of all boxes, or convert the data anew" in t for t in told
    )


def test_boxes_are_not_moved_where_some_are_right():
    """Five of eight begin at -1, which is told; three at 0 or 1 would be moved away."""
    boxes = [[x, 30, 40, 20] for x in (-1, -1, -1, -1, -1, 0, 1, 1)]
    one = example(boxes=[[x, 10 * n, 40, 5 + n] for n, (x, *_) in enumerate(boxes)])
    examination = examine([split_of(one)])
    (split,), changes = cleaned(examination)
    assert split.data.examples[0].boxes[:, 0].tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert changes == ["boxes cut at the image's edge: 5"]
    assert describe_kept(examination, [split]) == [
        "left as they are, for you to judge: boxes perhaps shifted by one 1"
    ]


def test_few_boxes_at_the_edges_tell_nothing():
    assert shift_findings(split_of(example(boxes=[[-1, -1, 30, 20]]))) == []


def test_boxes_at_the_edges_that_disagree_tell_nothing():
    """At the left edge 4 of 10 begin at -1, more than at 0 or 1 but not most."""
    boxes = [[x, 30, 40, 20] for x in (-1, -1, -1, -1, 0, 0, 0, 1, 1, 1)]
    assert shift_findings(split_of(example(boxes=boxes))) == []
    mostly = [[x, 30, 40, 20] for x in (-1, -1, -1, -1, -1, -1, 0, 0, 1, 1)]
    (finding,) = shift_findings(split_of(example(boxes=mostly)))
    assert finding.kind is FindingKind.PERHAPS_SHIFTED
    assert str(finding).startswith("train: 6 of 10 boxes at the left and top edges are -1 pixel")
    assert "(--fix moves none, for the others are right)" in str(finding)


def test_problems_of_the_readers_are_told_by_kind(tmp_path):
    bad = {
        "a": [voc_object(corners=(9, 9, 9, 9)), voc_object(corners=(60, 20, 50, 30))],
        "b": [voc_object(corners=(101, 20, 120, 30)), voc_object(corners=(-9, 21, 103, 60))],
        "c": [voc_object(corners=("nan", 20, 50, 30)), voc_object(" ")],
        "d": [], "e": [], "f": [], "g": [],
    }  # fmt: skip
    listed = [*bad, "h", "a"]
    spec = write_voc(tmp_path, bad, listed=listed)
    folder = tmp_path / "JPEGImages"
    (folder / "d.jpg").unlink()
    (folder / "e.jpg").write_bytes(image_bytes()[:-300])
    (folder / "f.jpg").write_bytes(b"")
    (folder / "g.jpg").write_bytes(image_bytes(size=(90, 80)))
    findings = reader_findings(load_data(spec))
    assert kinds(findings) == {
        "boxes of no area": 1,
        "boxes with swapped corners": 1,
        "boxes outside their image": 1,
        "boxes that reach outside their image": 1,
        "boxes that are not four numbers": 1,
        "missing images": 1,
        "missing annotation files": 1,
        "broken images": 2,
        "images of another size than annotated": 1,
        "images that are listed twice": 1,
        "objects without a class name": 1,
    }
    (area,) = (finding for finding in findings if finding.kind is ProblemKind.NO_AREA)
    assert re.search(r"a\.xml: object 1 \(dog\): box xmin=9 .*; left out$", str(area))


def test_unknown_classes_are_a_kind_of_their_own(tmp_path):
    data = load_data(write_coco(tmp_path, annotations=[coco_object()]), class_names=["car"])
    assert kinds(reader_findings(data)) == {"objects of unknown classes": 1}


# --- images ---


def test_the_looks_of_an_image_survive_size_and_compression():
    image = textured(1)
    bits = image_bits(image)
    assert bits.dtype == np.uint64 and bits.shape == (4,)
    for other in (
        image.resize((60, 45)),
        Image.open(io.BytesIO(encoded(image, quality=30))),
        image.point(lambda level: level * 0.8),  # darker
    ):
        assert np.bitwise_count(image_bits(other) ^ bits).sum() <= 24
    strangers = [np.bitwise_count(image_bits(textured(seed)) ^ bits).sum() for seed in range(2, 30)]
    assert min(strangers) > 60
    assert image_bits(Image.new("RGB", (50, 50), (90, 90, 90))) is None


def test_bits_say_where_it_gets_brighter_to_the_right():
    ramp = np.tile(np.linspace(0, 255, 170).astype(np.uint8), (160, 1))
    assert image_bits(Image.fromarray(ramp)).tolist() == [2**64 - 1] * 4
    assert image_bits(Image.fromarray(ramp[:, ::-1])).tolist() == [0] * 4
    ramp[80:] = ramp[80:, ::-1]  # rows 0 to 7 of 16 rise, the others fall
    assert image_bits(Image.fromarray(ramp)).tolist() == [2**64 - 1] * 2 + [0] * 2


def test_images_that_cannot_be_decoded_are_found():
    whole = encoded(textured(1, (400, 300)), quality=95)
    assert take_fingerprint(example(image=whole)).broken == ""
    assert take_fingerprint(example(image=damaged(whole))).broken
    missing = take_fingerprint(example(image="no/such/file.jpg"))
    assert "No such file" in missing.broken and missing.content == b""


def test_twins_within_and_between_splits(tmp_path):
    one, two = encoded(textured(1)), encoded(textured(2))
    again = encoded(textured(1), quality=40)
    flat = [encoded(Image.new("RGB", (30, 30), (level,) * 3)) for level in (90, 200)]
    box = [[10, 10, 30, 30]]
    train = split_of(
        example("a", one, boxes=box), example("b", two), example("c", one), example("d", flat[0])
    )
    val = split_of(example("e", again), example("f", two), example("g", flat[1]), name="val")
    examination = examine([train, val])
    pairs = [(pair.first, pair.second, pair.is_exact) for pair in examination.twins]
    assert pairs == [
        ((0, 0), (0, 2), True),
        ((0, 1), (1, 1), True),
        ((0, 0), (1, 0), False),
    ]
    found = {finding.title: str(finding) for finding in examination.findings}
    assert found["duplicate images"] == "c: is a, with other boxes"
    assert found["images of train that are in val too"] == "f: is b"
    near = found["images of train that are in val too, nearly the same"]
    assert re.fullmatch(r"e: looks like a \(\d+ of 256 bits differ\)", near)


def test_no_image_is_its_own_twin():
    prints = [[take_fingerprint(example(image=encoded(textured(seed)))) for seed in range(6)]]
    assert find_twins(prints) == []


# --- the report ---


def voc_pair(root):
    """A training split with faults, and a validation split that shares an image with it."""
    train = {
        "a": [voc_object(), voc_object(), voc_object("cat", (5, 5, 90, 70))],
        "b": [voc_object(corners=(50, 20, 50, 20)), voc_object("cow")],
        "c": [voc_object(corners=(31, 21, 130, 60))],
        "d": [voc_object("cat")],
    }
    specs = [
        write_voc(root, train, "train", size=(0, 0)),
        write_voc(root, {"e": [voc_object("cat")]}, "val", size=(0, 0)),
    ]
    for seed, stem in enumerate("abcd"):
        (root / "JPEGImages" / f"{stem}.jpg").write_bytes(encoded(textured(seed, (100, 80))))
    (root / "JPEGImages" / "e.jpg").write_bytes((root / "JPEGImages" / "b.jpg").read_bytes())
    whole = encoded(textured(3, (100, 80)), quality=95)
    (root / "JPEGImages" / "d.jpg").write_bytes(damaged(whole))
    return specs


def test_the_report_tells_counts_and_findings(tmp_path):
    report = str(examine(load_splits(voc_pair(tmp_path))))
    lines = report.splitlines()
    assert lines[0] == "train: 4 images (0 without objects), 6 objects, 20 classes"
    rows = {line.split()[0]: line.split()[1:4] for line in lines[2:5]}
    # Objects, images, difficult: dogs are the two of a and the clipped one of c.
    assert rows == {"dog": ["3", "2", "0"], "cat": ["2", "2", "0"], "cow": ["1", "1", "0"]}
    text = report.partition("\nfound\n")[2]
    for words in (
        r"boxes of no area: 1\n    .*b\.xml: object 1 \(dog\)",
        r"boxes that reach outside their image: 1\n    .*c\.xml: object 1 .*; clipped",
        r"broken images: 1\n    .*d\.jpg: cannot be decoded \(",
        r"objects annotated twice: 1\n    .*a\.jpg: object 2 \(dog\) lies on object 1 \(dog\)",
        r"classes never seen: 36\n    train: no object of class 'aeroplane'\n",
        r"images of train that are in val too: 1\n    .*e\.jpg: is .*b\.jpg, with other boxes",
    ):
        assert re.search(words, text), words
    assert "val: no object of class 'dog' (train 3)" not in text  # the first three are shown


def test_a_clean_set_has_no_findings():
    clean = split_of(
        example("a", encoded(textured(1)), boxes=[[1, 1, 30, 30]]),
        example("b", encoded(textured(2)), boxes=[[20, 20, 30, 30]], labels=[1]),
    )
    assert str(examine([clean])).endswith("\n\nnothing wrong was found")


def test_long_reports_are_cut():
    names = tuple(f"class_{number:02d}" for number in range(40))
    boxes = [[number, 1, 20, 20] for number in range(0, 39 * 2, 2)]
    split = split_of(example(boxes=boxes, labels=list(range(39))), names=names)
    report = str(examine([split]))
    assert "... and 10 rarer classes" in report
    assert "train: no object of class 'class_39'" in report


# --- the cleaned copy ---


def test_the_copy_has_no_certain_fault_and_the_source_stays(tmp_path):
    specs = voc_pair(tmp_path / "data")
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    splits, changes = cleaned(examine(load_splits(specs)))
    assert changes == [
        "boxes and images left out or clipped by the reader: 2",
        "repeated objects left out: 1",
        "copies of images left out: 1",
        "broken images left out: 1",
    ]
    assert [[x.image_id for x in split.data.examples] for split in splits] == [["a", "c"], ["e"]]
    assert splits[0].data.examples[0].labels.tolist() == [11, 7]
    assert before == {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}


def test_boxes_a_little_outside_are_cut():
    boxes = [[-1, 10, 40, 40], [90, 20, 31, 20], [5, 5, 20, 20]]
    one = example(boxes=boxes)
    one.areas[1] = 100.0  # of a mask, not of the box
    (split,), changes = cleaned(examine([split_of(one)]))
    found = split.data.examples[0]
    assert found.boxes.tolist() == [[0, 10, 39, 40], [90, 20, 30, 20], [5, 5, 20, 20]]
    assert found.areas.tolist() == [39 * 40, 100, 400]
    assert changes == ["boxes cut at the image's edge: 2"]


def test_what_stays_is_told(tmp_path):
    """A box of no area is left out: its dog stays in the image. And an empty image stays."""
    voc_pair(tmp_path)
    write_voc(tmp_path, {"x": []}, "test", size=(0, 0))
    specs = [f"voc:{tmp_path}@{name}" for name in ("train", "val", "test")]
    examination = examine(load_splits(specs))
    copies, _ = cleaned(examination)
    assert describe_kept(examination, copies) == [
        "boxes left out: 1; what they showed is still in the images, without a label: label it "
        "anew where it matters",
        "images without objects: 1, kept, to learn the background from",
    ]


@pytest.mark.parametrize("layout", ["voc", "coco", "yolo", "tfrecord"])
def test_check_with_fix_writes_a_copy_that_has_nothing_wrong(tmp_path, capsys, layout):
    specs = voc_pair(tmp_path / "data")
    folder = tmp_path / "clean"
    assert cli.main(["data", "check", *specs, "--fix", str(folder), "--layout", layout]) == 0
    printed = capsys.readouterr().out.partition("cleaned copy\n")[2]
    copies = re.findall(rf"wrote \d images; read them as '({layout}:.*)'", printed)
    assert len(copies) == 2
    splits = load_splits(copies)
    assert [len(split.data) for split in splits] == [2, 1]
    assert set(kinds(examine(splits).findings)) <= {"classes never seen"}
    # b.jpg, whose copy in the validation set stays, byte for byte
    source = (tmp_path / "data" / "JPEGImages" / "b.jpg").read_bytes()
    assert splits[1].data.examples[0].read() == source
    assert cli.main(["data", "check", *specs, "--fix", str(folder)]) == 2
    assert "is not an empty folder; choose another" in capsys.readouterr().err


def test_a_recipe_value_without_a_recipe_is_an_error(capsys):
    words = ["data", "check", "synthetic:shapes@val[:1]", "--set", "seed=3"]
    assert cli.main(words) == 2
    assert re.search(r"--set 'seed=3' changes a recipe; pass --preset or", capsys.readouterr().err)


def test_real_data(shared):
    """Two boxes of no area and six objects annotated twice, no leak: seen in the files by eye."""
    specs = [f"voc:{shared}/data/bccd@{name}" for name in ("train", "val")]
    examination = examine(load_splits(specs))
    assert kinds(examination.findings) == {"boxes of no area": 2, "objects annotated twice": 6}
    total = objects_in_the_report(examination)
    assert total == 2804 + 1137


def objects_in_the_report(examination) -> int:
    """Objects of all splits, by the rows of the report."""
    rows = re.findall(r"^  all +(\d+)", str(examination), re.M)
    return sum(map(int, rows))
