"""Data split into parts that share no image."""

import re
from dataclasses import replace

import numpy as np
import pytest
from datasets import coco_image, coco_object, voc_object, write_coco, write_voc
from example_records import encoded, example, textured
from PIL import Image

from ssd_keras.cli import main
from ssd_keras.data import DetectionData
from ssd_keras.data.splits import load_splits
from ssd_keras.doctor.data_report import check_data
from ssd_keras.doctor.findings import FindingKind
from ssd_keras.doctor.split import split_data, stratify
from ssd_keras.doctor.split_groups import consecutive_blocks

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


def test_every_part_gets_a_group_where_there_are_enough():
    counts = np.array([[6, 6], [6, 6]])
    assert sorted(stratify(counts, np.array([0.9, 0.1])).tolist()) == [0, 1]
    counts = np.ones((5, 2), int)
    assert np.bincount(stratify(counts, np.array([0.98, 0.01, 0.01]))).tolist() == [3, 1, 1]


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


def test_images_of_one_group_are_refused_with_the_ways_out():
    data = images(3, copies=[(1, 0), (2, 0)])
    words = (
        "part 'two' would get no image: all 3 images are one group that stays together, such as "
        "p0 and p1; choose --groups blocks .*, choose --groups none .*, or add other images"
    )
    for seed in range(3):
        with pytest.raises(ValueError, match=words):
            split_data(data, HALVES, seed)
    (one, two), notes = split_data(data, HALVES, groups="blocks")
    assert ids(one) == ["p0", "p1"] and ids(two) == ["p2"]
    assert notes == [
        "blocks of consecutive names: of the images the first 50% are one, then 50% are two; the "
        "parts are not stratified by class, and images at a border may look alike",
        "3 duplicates or near-duplicates lie in several parts, such as p0 and p2",
    ]
    parts, notes = split_data(data, HALVES, groups="none")
    assert sorted(len(part.data) for part in parts) == [1, 2]
    assert len(notes) == 1 and notes[0].startswith("3 duplicates or near-duplicates lie in")
    with pytest.raises(ValueError, match="would get no image: too few images .1.; choose a larger"):
        split_data(images(1), HALVES, groups="none")
    with pytest.raises(ValueError, match="the 3 images lie in 2 groups that stay together, such"):
        split_data(images(3, copies=[(1, 0)]), {"a": 0.4, "b": 0.3, "c": 0.3})


def test_frames_of_a_camera_that_stands_are_told():
    """A part moves along a belt: no two frames are the same, but all show one scene."""
    frames = []
    for number in range(10):
        image = Image.new("RGB", (320, 240), (120, 130, 140))
        image.paste((80, 80, 80), (0, 160, 320, 240))
        image.paste((200, 60, 60), (26 * number, 100, 26 * number + 40, 140))
        box = [[26 * number, 100, 40, 40]]
        frames.append(example(f"f{number}", encoded(image, quality=90), box, size=image.size))
    data = DetectionData(("part",), tuple(frames))
    _, notes = split_data(data, {"train": 0.8, "val": 0.2})
    assert notes == [
        "f0 to f9 show one scene, as frames of one camera do, and lie in several parts; --groups "
        "blocks makes parts of consecutive frames, which are alike at their borders only"
    ]


# --- names ---


def named(*names, labels=None):
    data = images(len(names), labels=labels)
    examples = [replace(x, image_id=name) for x, name in zip(data.examples, names, strict=True)]
    return replace(data, examples=tuple(examples))


def frame_names(pattern, clips, frames):
    return [pattern.format(clip=clip, frame=frame) for clip in clips for frame in range(frames)]


VIDEOS = (
    "clip{clip}_frame{frame:04d}",
    "clip{clip}-{frame:04d}",
    "video {clip} ({frame})",
    "cam{clip}/{frame:06d}",
    "{clip}/img_{frame}",
    "20240131_cam{clip}_{frame}",
)


@pytest.mark.parametrize("pattern", VIDEOS)
def test_numbered_frames_stay_in_one_part(pattern):
    names = frame_names(pattern, range(4), 3)
    clips = [set(names[start : start + 3]) for start in (0, 3, 6, 9)]
    shares = {"train": 0.75, "val": 0.25}
    (train, val), notes = split_data(named(*names), shares)
    assert len(train.data) == 9 and set(ids(val)) in clips
    assert notes == [
        f"4 groups of numbered frames stay together, such as {names[0]} to {names[2]} (3 images); "
        "--groups none divides them"
    ]
    (train, val), notes = split_data(named(*names), shares, groups="none")
    assert notes == [] and len(val.data) == 3 and set(ids(val)) not in clips


def test_two_videos_are_two_parts_whose_sizes_are_told():
    (train, val), notes = split_data(
        named(*frame_names("{clip}{frame}", "ab", 4)), {"train": 0.8, "val": 0.2}
    )
    assert len(train.data) == len(val.data) == 4
    assert notes[1] == (
        "train has 50% of the images instead of 80%, val has 50% of the images instead of 20%, "
        "because groups are not divided"
    )


def test_frames_are_known_by_the_names_of_files(tmp_path):
    """Ids of COCO images are numbers; Roboflow appends a hash."""
    examples = []
    for number, name in enumerate(frame_names("c{clip}_{frame}", "ab", 4)):
        path = tmp_path / f"{name}_jpg.rf.{number:032x}.jpg"
        path.write_bytes(encoded(textured(number)))
        examples.append(example(number, str(path)))
    data = DetectionData(("dog",), tuple(examples))
    (one, _), notes = split_data(data, HALVES)
    assert notes[0].startswith("2 groups of numbered frames stay together, such as ca_0 to ca_3 (4")
    assert ids(one) in ([0, 1, 2, 3], [4, 5, 6, 7])
    (one, two), _ = split_data(data, HALVES, groups="blocks")
    assert ids(one) == [0, 1, 4, 5] and ids(two) == [2, 3, 6, 7]


NUMBERS_WITHOUT_MEANING = {
    "one sequence": frame_names("img_{frame:04d}", "a", 8),
    "years": frame_names("{clip}_{frame:06d}", (2007, 2008), 4),
    "days": frame_names("IMG-{clip}-WA000{frame}", (20181228, 20190104), 4),
    "pairs": frame_names("{clip}_{frame}", "abcd", 2),
    "a few beside the others": frame_names("a{frame}", "a", 14) + ["b1", "b2"],
}


@pytest.mark.parametrize("kind", NUMBERS_WITHOUT_MEANING)
def test_numbers_without_meaning_make_no_groups(kind):
    names = NUMBERS_WITHOUT_MEANING[kind]
    (_, val), notes = split_data(named(*names), {"train": 0.75, "val": 0.25})
    assert notes == [] and len(val.data) == round(len(names) / 4)


def test_numbered_names_of_classes_are_divided_and_told():
    names = frame_names("{clip}{frame}", ("DOG", "CAT"), 4)
    data = named(*names, labels=[[0]] * 4 + [[1]] * 4)
    (_, val), notes = split_data(data, {"train": 0.75, "val": 0.25})
    assert sorted(label for x in val.data.examples for label in x.labels) == [0, 1]
    assert notes == [
        "2 sequences of numbered names are divided, because each has other classes; --groups REGEX "
        "keeps images together whose names match alike"
    ]
    (_, val), _ = split_data(data, {"train": 0.5, "val": 0.5}, groups=r"^\D+")
    assert len({label for x in val.data.examples for label in x.labels}) == 1


def test_versions_of_an_image_stay_in_one_part(tmp_path):
    """An export with augmented copies, which look otherwise."""
    examples = []
    for number, name in enumerate(("dog", "cat", "dog", "cow")):
        path = tmp_path / f"{name}_png.rf.{number:032x}.jpg"
        path.write_bytes(encoded(textured(number)))
        examples.append(example(name + str(number), str(path)))
    (one, two), notes = split_data(DetectionData(("dog",), tuple(examples)), HALVES)
    assert sorted([ids(one), ids(two)]) == [["cat1", "cow3"], ["dog0", "dog2"]]
    assert notes == [
        "2 images are versions of others, as their names say, in one group of 2; each group goes "
        "to one part"
    ]


def test_a_pattern_of_names_makes_the_groups():
    data = named("a_x_1", "b_x_1", "c_y_1", "d_y_2", "left", "right")
    (one, two), notes = split_data(data, HALVES, groups=r"_(.)_")
    assert sorted([ids(one), ids(two)])[0][:2] == ["a_x_1", "b_x_1"]
    assert {"c_y_1", "d_y_2"} <= set(ids(one)) or {"c_y_1", "d_y_2"} <= set(ids(two))
    assert notes == [
        "the names make 2 groups of up to 2 images; each group goes to one part",
        "2 images do not match '_(.)_', such as left; they are in no group",
    ]
    (one, two), notes = split_data(data, {"a": 2 / 3, "b": 1 / 3}, groups=r"^._[xy]|t$")
    assert "5 groups of up to 2" in notes[0] and len(notes) == 1
    _, notes = split_data(data, HALVES, groups=r"_([xy])_|(t)$")  # either group of the pattern
    assert notes[0] == "the names make 3 groups of up to 2 images; each group goes to one part"
    assert not any("do not match" in note for note in notes)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ("(", r"groups '\(' is no pattern \(missing \).*; expected look, blocks, none, or a reg"),
        ("names", "groups 'names' matches none of 3 names, such as 'p0'; expected look, blocks"),
    ],
)
def test_unknown_groups_are_refused(groups, words):
    with pytest.raises(ValueError, match=words):
        split_data(images(3), HALVES, groups=groups)


def test_blocks_are_cut_from_every_sequence_in_the_order_of_numbers():
    """By hand: 0.8 x 6 = 4.8, so five of a; then 0.8 x 12 = 9.6, so ten of a and b: five of b."""
    names = [
        *(f"a{n}" for n in (11, 9, 10, 2, 1, 3)),
        *frame_names("b{frame}", "b", 6),
        "y9",
        "y10",
    ]
    part_of, num_sequences = consecutive_blocks(names, [0.8, 0.2])
    assert num_sequences == 3
    assert [name for name, part in zip(names, part_of, strict=True) if part] == ["a11", "b5", "y10"]
    # Five frames in each of 40 videos: one of each is not in the first part.
    part_of, _ = consecutive_blocks(frame_names("{clip}_{frame}", range(40), 5), [0.8, 0.2])
    assert part_of.tolist() == [0, 0, 0, 0, 1] * 40
    # Three in each of 20, in three parts: the sizes are right together.
    part_of, _ = consecutive_blocks(frame_names("{clip}_{frame}", range(20), 3), [0.5, 0.3, 0.2])
    assert np.bincount(part_of).tolist() == [30, 18, 12]
    assert (np.diff(part_of.reshape(20, 3)) >= 0).all()


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


def test_the_command_takes_groups(tmp_path, capsys):
    spec, output = unsplit_voc(tmp_path / "data"), str(tmp_path / "parts")
    words = ["data", "split", spec, "--groups", "blocks", "--output", output]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "blocks of consecutive names: of the images the first 80% are train" in printed.err
    _, val = load_splits(re.findall(r"'(voc:.*)'", printed.out))
    assert ids(val) == ["p8", "p9"]


def test_invalid_parts_of_the_command_are_refused(tmp_path, capsys):
    words = ["data", "split", "synthetic:shapes@val[:4]", "--output", str(tmp_path / "x")]
    assert main([*words, "--parts", "a=0.5", "a=0.5"]) == 2
    assert "--parts names a part twice; expected such as" in capsys.readouterr().err
    assert main([*words, "--parts", "train:0.8"]) == 2
    assert "--parts: 'train:0.8' must be such as train=0.8" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
