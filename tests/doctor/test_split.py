"""Data split into parts that share no image."""

import re

import numpy as np
import pytest
from datasets import coco_image, coco_object, voc_object, write_coco, write_voc
from example_records import encoded, example, textured

from ssd_keras.cli import main
from ssd_keras.data import DetectionData
from ssd_keras.data.splits import load_splits
from ssd_keras.doctor.data_report import check_data
from ssd_keras.doctor.findings import FindingKind
from ssd_keras.doctor.split import split_data, stratify

HALVES = {"one": 0.5, "two": 0.5}


def images(count, *, copies=(), labels=None):
    """Images unlike each other; `copies` has pairs of a shrunk copy and its source."""
    source = dict(copies)
    examples = []
    for number in range(count):
        image = textured(source.get(number, number))
        if number in source:
            image = image.resize((90, 70))
        image_labels = [0] if labels is None else labels[number]
        examples.append(
            example(
                f"p{number}",
                encoded(image),
                [[5, 5, 30, 20]] * len(image_labels),
                image_labels,
                None,
                image.size,
            )
        )
    return DetectionData(("dog", "cat", "bird"), tuple(examples))


def ids(split):
    return [each.image_id for each in split.data.examples]


# --- stratification ---


def test_each_part_gets_its_share_of_images_and_of_every_class():
    random = np.random.default_rng(0)
    has = random.random((1000, 4)) < (0.5, 0.2, 0.05, 0.02)
    counts = np.concatenate([np.ones((1000, 1), int), has], axis=1).astype(int)
    shares = np.array([0.7, 0.2, 0.1])
    part_of = stratify(counts, shares, seed=3)
    assert np.bincount(part_of).tolist() == [700, 200, 100]
    for column in range(1, 5):
        got = np.bincount(part_of, weights=counts[:, column]) / counts[:, column].sum()
        # The rarest class is in about 20 images: one of them is a share of 0.05.
        np.testing.assert_allclose(got, shares, atol=0.051)
    assert (stratify(counts, shares, seed=3) == part_of).all()
    assert (stratify(counts, shares, seed=4) != part_of).mean() > 0.2


def test_a_rare_class_is_in_every_part():
    """By hand: class 2 is in 5 of 50 images; 0.8 x 5 = 4 for the first part, 1 for the second."""
    counts = np.ones((50, 3), int)
    counts[:, 2] = np.arange(50) % 10 == 0
    part_of = stratify(counts, np.array([0.8, 0.2]))
    assert np.bincount(part_of).tolist() == [40, 10]
    assert np.bincount(part_of, weights=counts[:, 2]).tolist() == [4, 1]


def test_no_part_exceeds_its_share_of_images():
    """Many classes and few images: every class pulls another way."""
    for seed in range(20):
        has = np.random.default_rng(seed).random((30, 12)) < 0.3
        counts = np.concatenate([np.ones((30, 1), int), has], axis=1).astype(int)
        assert np.bincount(stratify(counts, np.array([0.8, 0.2]))).tolist() == [24, 6]


def test_a_group_stays_in_one_part_and_no_part_is_overfull():
    counts = np.ones((11, 2), int)
    counts[0] = 10  # ten alike images and ten single ones
    part_of = stratify(counts, np.array([0.5, 0.5]))
    assert np.bincount(part_of, weights=counts[:, 0]).tolist() == [10, 10]


# --- images ---


def test_images_that_look_alike_stay_together():
    data = images(12, copies=[(6, 0), (7, 0), (8, 1)])
    for seed in range(4):
        (one, two), notes = split_data(data, HALVES, seed)
        assert sorted(ids(one) + ids(two)) == sorted(x.image_id for x in data.examples)
        for group in ({"p0", "p6", "p7"}, {"p1", "p8"}):
            assert group <= set(ids(one)) or group <= set(ids(two))
        kinds = {finding.kind for finding in check_data([one, two]).findings}
        assert FindingKind.NEAR_DUPLICATE in kinds
        assert not kinds & {FindingKind.LEAK, FindingKind.NEAR_LEAK}
        assert notes == [
            "5 images are duplicates or near-duplicates, in 2 groups of up to 3; each group goes "
            "to one part"
        ]
    assert [ids(split) for split in split_data(data, HALVES, 3)[0]] == [ids(one), ids(two)]
    # Each part keeps the order of the data.
    numbers = [int(name[1:]) for name in ids(one)]
    assert numbers == sorted(numbers)


def test_images_without_objects_are_split_too():
    data = images(20, labels=[[]] * 10 + [[0]] * 10)
    parts, _ = split_data(data, {"train": 0.8, "val": 0.2})
    assert [sum(not len(x.labels) for x in part.data.examples) for part in parts] == [8, 2]


def test_broken_images_are_left_out_and_reported():
    data = images(4)
    broken = example("b", encoded(textured(9))[:200] + b"\xff\xd9")
    parts, notes = split_data(DetectionData(data.class_names, (*data.examples, broken)), HALVES)
    assert sorted(ids(parts[0]) + ids(parts[1])) == ["p0", "p1", "p2", "p3"]
    assert len(notes) == 1 and notes[0].startswith("b: ") and notes[0].endswith("; dropped")


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"train": 1.0}, r"a split has at least two parts; expected such as train=0\.8 val=0\.2"),
        ({"a": 0.5, "b": 0.4}, r"the parts a=0\.5 b=0\.4 sum to 0\.9; expected 1"),
        ({"a": 1.5, "b": -0.5}, r"part a=1\.5: expected a share between 0 and 1"),
        ({"../a": 0.5, "b": 0.5}, r"part '\.\./a' is not a valid name; expected letters, digits"),
        ({"a": 0.5, "b": float("nan")}, r"part b=nan: expected a share between 0 and 1"),
    ],
)
def test_invalid_shares_are_refused(shares, words):
    with pytest.raises(ValueError, match=words):
        split_data(images(3), shares)


def test_a_part_that_would_stay_empty_is_refused():
    with pytest.raises(ValueError, match=r"part 'two' would get no image: there are 1 ima"):
        split_data(images(3, copies=[(1, 0), (2, 0)]), HALVES)


# --- the command ---


def unsplit_voc(root):
    write_voc(root, {f"p{number}": [voc_object()] for number in range(10)}, size=(0, 0))
    for number in range(10):
        (root / f"JPEGImages/p{number}.jpg").write_bytes(encoded(textured(number)))
    (root / "ImageSets/Main/train.txt").unlink()
    return f"voc:{root}@all"


def test_split_writes_parts_that_train_takes(tmp_path, capsys):
    spec, output = unsplit_voc(tmp_path / "data"), tmp_path / "parts"
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.*")}
    words = ["data", "split", spec, "--output", str(output)]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.out == (
        f"wrote 8 images; read them as 'voc:{output}@train'\n"
        f"wrote 2 images; read them as 'voc:{output}@val'\n"
    )
    assert printed.err == ""
    train, val = load_splits(re.findall(r"'(.*)'", printed.out), bad_data="refuse")
    assert sorted(ids(train) + ids(val)) == [f"p{number}" for number in range(10)]
    assert before == {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.*")}
    assert main(words) == 2
    assert "is not an empty folder; choose another" in capsys.readouterr().err


def test_split_takes_parts_seed_and_format(tmp_path, capsys):
    spec = unsplit_voc(tmp_path / "data")
    words = ["data", "split", spec, "--parts", "train=0.5", "val=0.3", "test=0.2", "--seed"]
    found = []
    for seed in ("1", "1", "2"):
        output = str(tmp_path / f"parts{len(found)}")
        assert main([*words, seed, "--format", "yolo", "--output", output]) == 0
        specs = re.findall(r"'(yolo:.*)'", capsys.readouterr().out)
        found.append([sorted(ids(split)) for split in load_splits(specs)])
    assert [len(part) for part in found[0]] == [5, 3, 2]
    assert found[0] == found[1] != found[2]


def test_split_keeps_the_format_of_the_data(tmp_path, capsys):
    """COCO stays COCO, and so keeps its crowds and its categories' numbers."""
    images = [coco_image(number) for number in range(1, 6)]
    objects = [coco_object(n, image_id=n, iscrowd=int(n == 2)) for n in range(1, 6)]
    spec = write_coco(tmp_path, images, objects)
    for number in range(1, 6):
        (tmp_path / f"images/{number}.jpg").write_bytes(encoded(textured(number, (100, 80))))
    words = ["data", "split", spec, "--parts", "train=0.6", "val=0.4", "--output"]
    assert main([*words, str(tmp_path / "parts")]) == 0
    splits = load_splits(re.findall(r"'(coco:.*)'", capsys.readouterr().out))
    assert [len(split.data) for split in splits] == [3, 2]
    assert all(split.data.category_ids == (3, 18) for split in splits)
    assert sum(x.is_crowd.sum() for split in splits for x in split.data.examples) == 1


def test_invalid_parts_of_the_command_are_refused(tmp_path, capsys):
    words = ["data", "split", "synthetic:shapes@val[:4]", "--output", str(tmp_path / "x")]
    assert main([*words, "--parts", "a=0.5", "a=0.5"]) == 2
    assert "--parts names a part twice; expected such as" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--parts", "train:0.8"])
    assert "argument --parts: 'train:0.8' must be such as train=0.8" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
