"""Rare classes and weighted data sets: how often an image comes, and in which order."""

import bisect
import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from datasets import voc_object, write_voc
from example_records import example
from trainings import PLAIN, recipe

from ssd_keras import (
    Augmentation,
    MaxIoUAssigner,
    TargetEncoder,
    load_data,
    repeat_factors,
    training_dataset,
)
from ssd_keras.data import DetectionData
from ssd_keras.data.repeat_factors import rare_classes_line, source_weights_line
from ssd_keras.data.stream import GOLDEN_STEP, OFFSETS, make_sampler
from ssd_keras.data.workers.service import DataWorkers
from ssd_keras.engine.augmentation_sheet import training_sheet
from ssd_keras.engine.distributed.devices import Devices
from ssd_keras.engine.distributed.process_group import ProcessGroup
from ssd_keras.engine.distributed.session import Session
from ssd_keras.engine.train import dataset_of, initial_model

STILL = Augmentation(photometric=False, zoom_out=False, crop=False, flip=False)
BOX = (20, 10, 40, 30)
ENCODER = TargetEncoder(MaxIoUAssigner(), np.array([[0.1, 0.1, 0.6, 0.6]], np.float32))


def image(*labels, **options):
    return example(boxes=[BOX] * len(labels), labels=labels, **options)


def rare_data():
    """Of 8 images 6 have a cup, 1 a bowl, 1 a jug in a crowd alone, and 1 nothing else."""
    cups = [image(0), image(0, 0), image(0, 1, 1), image(0), image(0, 0, 0), image(0)]
    return DetectionData(("cup", "bowl", "jug"), (*cups, image(2, crowd=[True]), image()))


def indices(factors, epochs, seed=0, count=None):
    """The images of the stream, [epochs, images]."""
    number = len(factors) if count is None else count
    positions = tf.data.Dataset.range(epochs * number)
    (found,) = positions.map(make_sampler(number, seed, factors)).batch(epochs * number)
    return found.numpy().reshape(epochs, number)


# Factors


def test_factors_are_those_worked_out_by_hand():
    # bowl: 1 of 8 images, sqrt(0.5 / 0.125) = 2; cup: 6 of 8, sqrt(0.5 / 0.75) < 1. Crowds, which
    # training drops, make no class.
    assert repeat_factors(rare_data(), 0.5).tolist() == [1, 1, 2, 1, 1, 1, 1, 1]
    # 0.28125 / 0.125 = 2.25 = 1.5 ** 2; and bowl at 1 / 8 is not below a threshold of 0.1.
    assert repeat_factors(rare_data(), 0.28125).tolist() == [1, 1, 1.5, 1, 1, 1, 1, 1]
    assert repeat_factors(rare_data(), 0.1).tolist() == [1] * 8
    # cup: sqrt(1 / 0.75) = 1.1547, bowl sqrt(8) = 2.8284, which is the larger one.
    found = repeat_factors(rare_data(), 1.0)
    np.testing.assert_allclose(found, [1.1547, 1.1547, 2.8284, 1.1547, 1.1547, 1.1547, 1, 1], 1e-4)


def test_difficult_objects_count_where_they_are_learned():
    hard = image(1)
    hard.is_difficult[:] = True
    data = DetectionData(("cup", "bowl"), (image(0), image(0), image(0), hard))
    assert repeat_factors(data, 1.0)[3] == 2.0  # sqrt(1 / 0.25)
    assert repeat_factors(data, 1.0, use_difficult=False)[3] == 1.0


def test_factors_are_those_of_the_paper_on_data_at_random():
    generator = np.random.default_rng(5)
    labels = [generator.integers(0, 6, generator.integers(0, 5)) ** 2 // 5 for _ in range(60)]
    data = DetectionData(tuple("abcdef"), tuple(image(*each.tolist()) for each in labels))
    expected = []
    for each in labels:
        shares = [sum(name in other for other in labels) / 60 for name in each]
        expected.append(max([1.0, *(math.sqrt(0.4 / share) for share in shares)]))
    assert max(expected) > 1 and len(set(expected)) > 3
    np.testing.assert_allclose(repeat_factors(data, 0.4), expected, rtol=1e-12)


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, math.nan])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match=r"^threshold=.* must be above 0 and at most 1\.$"):
        repeat_factors(rare_data(), threshold)


# Data sets


@pytest.fixture
def united(tmp_path):
    """Two images of one data set and one of another, in which each class is in one image."""
    first = write_voc(tmp_path / "a", {"p": [voc_object("cat")], "q": []})
    return load_data([first, write_voc(tmp_path / "b", {"p": [voc_object("dog")]})])


def test_weights_are_those_of_the_data_sets_in_their_order(united):
    assert [one.source for one in united.examples] == [*united.sources[:1] * 2, united.sources[1]]
    assert repeat_factors(united, None, [2, 0.5]).tolist() == [2, 2, 0.5]
    # cat and dog are in 1 of 3 images each: sqrt(0.75 / (1 / 3)) = 1.5.
    np.testing.assert_allclose(repeat_factors(united, 0.75, [2, 4]), [3, 2, 6])
    assert repeat_factors(united[1:], None, (3, 1)).tolist() == [3, 1]  # the order remains


def test_data_files_name_their_data_sets_one_by_one(tmp_path):
    write_voc(tmp_path / "a", {"p": [voc_object("cat")]})
    write_voc(tmp_path / "b", {"p": [voc_object("dog")], "q": []})
    path = tmp_path / "data.toml"
    path.write_text('train = ["voc:a@train", "voc:b@train"]\nrename = {dog = "cat"}\n')
    data = load_data([str(path), "synthetic:shapes@train[:1]"])
    assert repeat_factors(data, None, [1, 2, 5]).tolist() == [1, 2, 2, 5]


def test_a_wrong_number_of_weights_or_no_weight_is_refused(united):
    first, second = map(re.escape, united.sources)
    for weights in ([1], [1, 2, 3]):
        message = rf"source_weights={re.escape(str(weights))} for 2 data sets \({first}, {second}\)"
        with pytest.raises(ValueError, match=f"^{message}; give one weight for each, in this o"):
            repeat_factors(united, None, weights)
    with pytest.raises(ValueError, match=r"^source_weights=\[1, 2\] for 1 data set; give one w"):
        repeat_factors(rare_data(), None, [1, 2])
    for weight in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"^source_weights=.* must be finite and above 0\.$"):
            repeat_factors(united, None, [1, weight])


# The stream

FACTORS = {
    "some rare images": [1, 1, 1, 3.1, 1, 1, 2.2],
    "one image above all": [1.0] * 9 + [100.0],
    "at random": np.random.default_rng(2).uniform(0.2, 5, 37),
    "one image": [0.3],
}


@pytest.mark.parametrize("name", FACTORS)
def test_an_epoch_has_each_images_share_rounded_up_or_down(name):
    factors, seed = FACTORS[name], 11
    number, epochs = len(factors), 60
    exact = [Fraction(float(each)) for each in factors]
    shares = [number * each / sum(exact) for each in exact]
    ends = list(itertools.accumulate(shares))
    first = int(np.random.default_rng(seed).integers(OFFSETS))
    orders = indices(None, epochs, seed, count=number)
    for epoch, found in enumerate(indices(factors, epochs, seed)):
        counts = np.bincount(found, minlength=number)
        for count, share in zip(counts, shares, strict=True):
            assert math.floor(share) <= count <= math.ceil(share)
        # Independently, with fractions: point j + offset lies in the part of one image.
        offset = Fraction((first + epoch * GOLDEN_STEP) % OFFSETS, OFFSETS)
        points = [int(slot) + offset for slot in orders[epoch]]
        assert found.tolist() == [bisect.bisect_right(ends, point) for point in points]


def test_many_epochs_have_each_images_share_within_four():
    factors = np.array(FACTORS["some rare images"])
    shares = factors * len(factors) / factors.sum()
    counts = np.array([np.bincount(x, minlength=7) for x in indices(factors, 1000, seed=3)])
    after = np.cumsum(counts, axis=0)
    expected = np.arange(1, 1001)[:, None] * shares
    assert np.abs(after - expected).max() < 4
    # An image of a share of 0.679 never waits for more than an epoch.
    assert shares.min() > 0.67 and (counts[1:] + counts[:-1]).min() >= 1


def test_offsets_are_even_for_any_part_and_number_of_epochs():
    """The bound of the documentation: over all parts of a line, offsets and numbers to 1000."""
    offsets = np.arange(1000) * GOLDEN_STEP % OFFSETS / OFFSETS
    worst = 0.0
    for number in range(1, 1001):
        # Points in [0, x) less their expected number: at and behind each point of the line.
        points, ranks = np.sort(offsets[:number]), np.arange(number)
        worst = max(worst, np.max(ranks + 1 - number * points) - np.min(ranks - number * points))
    assert 3 < worst < 4


def test_equal_factors_are_the_stream_without_factors():
    for factor in (1.0, 0.3, 7.0):
        assert np.array_equal(indices([factor] * 29, 5, 4), indices(None, 5, 4, count=29))


def test_epochs_have_their_own_order_and_seeds_their_own_stream():
    factors = FACTORS["at random"]
    epochs = indices(factors, 6, seed=1)
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 6
    assert not any(np.array_equal(epoch, np.sort(epoch)) for epoch in epochs)
    assert not np.array_equal(epochs, indices(factors, 6, seed=2))


@pytest.mark.parametrize(
    "factors", [[1.0, 2.0], [1.0, 0.0, 2.0], [1.0, math.nan, 2.0], [1.0, math.inf, 2.0], []]
)
def test_factors_that_are_not_of_the_images_are_refused(factors):
    with pytest.raises(ValueError, match=rf"^repeat_factors has {len(factors)} numbers for 3 im"):
        make_sampler(3, 0, factors)


def batches(start_step=0, **options):
    data = load_data("synthetic:shapes@train[:7]")
    stream = training_dataset(
        data,
        ENCODER,
        (24, 32),
        batch_size=4,
        augmentation=STILL,
        seed=6,
        start_step=start_step,
        repeat_factors=[9, *[1] * 6],
        **options,
    )
    return [images.numpy() for images, _ in stream.take(6)]


def test_a_weighted_stream_resumes_at_any_step_and_its_parts_are_the_batch():
    whole = batches()
    # From the fourth batch on, which begins within an epoch of 7 images.
    halves = [batches(start_step=3, part=(index, 2)) for index in range(2)]
    assert np.array_equal(np.concatenate(halves, axis=1)[:3], whole[3:])


# Recipes


def test_recipes_sample_as_they_say(united):
    assert recipe().data.repeat_factors(united) is None
    changes = {"data.sampling": "repeat_factor", "data.repeat_threshold": 0.75}
    rare = recipe(changes).data.repeat_factors(united)
    np.testing.assert_allclose(rare, [1.5, 1, 1.5])
    both = recipe({**changes, "data.source_weights": [2, 4]}).data.repeat_factors(united)
    np.testing.assert_allclose(both, [3, 2, 6])
    weighted = recipe({"data.source_weights": [1, 0.5]}).data.repeat_factors(united)
    assert weighted.tolist() == [1, 1, 0.5]


def red_and_blue():
    """An image of each colour, of two data sets."""
    red, blue = (np.full((90, 120, 3), color, np.uint8) for color in ((200, 0, 0), (0, 0, 200)))
    examples = []
    for pixels, source in ((red, "a"), (blue, "b")):
        encoded = tf.io.encode_png(pixels).numpy()
        examples.append(image(0, image=encoded, source=source))
    return DetectionData(("cup",), tuple(examples))


def test_the_sheet_of_a_recipe_shows_its_images():
    """A million to one on the second data set: the sheet shows its image alone."""
    data = red_and_blue()
    changes = {**PLAIN, "data.source_weights": [1, 1e6]}
    sheet = training_sheet(recipe(changes), data, count=4, seed=1).astype(int)
    reds, blues = (np.abs(sheet - color).max(axis=-1) < 20 for color in ((200, 0, 0), (0, 0, 200)))
    assert blues.sum() > 4 * 64 * 64 and not reds.any()  # of four images, and the originals


def test_a_training_reads_what_its_recipe_samples():
    weighted = recipe({**PLAIN, "data.source_weights": [1, 1e6]})
    model = initial_model(weighted, ["cup"])
    session = Session(Devices(), ProcessGroup(), DataWorkers(0))
    images, _ = next(iter(dataset_of(weighted, red_and_blue(), model, session, start_step=3)))
    assert images.shape == (8, 64, 64, 3)
    assert np.abs(images.numpy().astype(int) - (0, 0, 200)).max() < 3  # blue alone


def test_lines_say_which_images_come_more_often(united):
    # bowl: factors sum up to 9, its image has 2 of them; cup: 7 of 9 instead of 6 of 8.
    data = rare_data()
    line = rare_classes_line(data, repeat_factors(data, 0.5), 0.5)
    assert line == "repeat_factor: bowl 2.0 times (22% of the images instead of 12%)"
    line = rare_classes_line(data, repeat_factors(data, 0.1), 0.1)
    assert line == "repeat_factor: no class is in less than 10% of the images"
    # 2 * 1 + 0.5 = 2.5: 2 of 2.5 instead of 2 of 3 images.
    line = source_weights_line(united, repeat_factors(united, None, [1, 0.5]), [1, 0.5])
    first, second = united.sources
    assert line == (
        f"source_weights: {first} 1 (80% of the images instead of 67%), "
        f"{second} 0.5 (20% of the images instead of 33%)"
    )
