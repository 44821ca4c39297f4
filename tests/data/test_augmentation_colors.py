"""Colours of the augmentation: the paper's brightness, contrast, saturation and hue."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf
from draws import draw_many, ks_ratio, smooth_image

from ssd_keras.data.augmentation import colors
from ssd_keras.data.augmentation.augmentation import COLOR_SPACES
from ssd_keras.data.augmentation.colors import distort_colors


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    return smooth_image()


def distort_many(image, count: int, color_space: str = "matrix") -> np.ndarray:
    image = tf.constant(image, tf.float32)
    return draw_many(lambda seed: distort_colors(image, seed, color_space), count)


def plain_saturation_and_hue(color, saturation: float, turn: float) -> tuple[float, ...]:
    """Computes by Python's colorsys; colours in 0..1, `turn` as a share of a whole turn."""
    hue, strength, value = colorsys.rgb_to_hsv(*color)
    return colorsys.hsv_to_rgb((hue + turn) % 1, min(1.0, strength * saturation), value)


def plain_distortion(image: np.ndarray, generator, is_grey: bool = False) -> np.ndarray:
    """The paper's four distortions in one of its two orders, each rounded to 0..255."""

    def brightness(image):
        return image + generator.uniform(-32, 32)

    def contrast(image):
        return image * generator.uniform(0.5, 1.5)

    def in_hsv(image, saturation, turn):
        if is_grey:
            return image
        rows = [plain_saturation_and_hue(row / 255, saturation, turn) for row in image]
        return np.array(rows) * 255

    def saturation(image):
        return in_hsv(image, generator.uniform(0.5, 1.5), 0)

    def hue(image):
        return in_hsv(image, 1, generator.uniform(-0.1, 0.1))

    last = generator.uniform() < 0.5
    for distort in (
        [brightness, saturation, hue, contrast] if last else [brightness, contrast, saturation, hue]
    ):
        if generator.uniform() < 0.5:
            image = np.clip(np.round(distort(image)), 0, 255)
    return image


def test_saturation_and_hue_matrices_by_hand():
    # Half way to the mean of the three: 0.5 of oneself and 0.5 / 3 of each.
    half = colors._color_matrix(tf.constant(0.5), tf.constant(0.0))
    expected = [[4 / 6, 1 / 6, 1 / 6], [1 / 6, 4 / 6, 1 / 6], [1 / 6, 1 / 6, 4 / 6]]
    np.testing.assert_allclose(half, expected, atol=1e-6)
    # A third of a turn forward makes red green, green blue and blue red, as in HSV.
    third = colors._color_matrix(tf.constant(1.0), tf.constant(2 * np.pi / 3, tf.float32))
    np.testing.assert_allclose(third, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-6)
    assert np.round(plain_saturation_and_hue((1, 0, 0), 1, 1 / 3), 6).tolist() == [0, 1, 0]


@pytest.mark.parametrize("color_space", ["matrix", "hsv"])
def test_grey_stays_grey_and_gets_brightness_and_contrast(color_space):
    """Two levels of grey determine both numbers: (x + brightness) * contrast."""
    greys = np.repeat([[[60.0], [130.0]]], 3, axis=-1)
    found = distort_many(greys, 4000, color_space)
    assert np.ptp(found, axis=-1).max() < 1e-3
    dark, light = found[:, 0, 0, 0].astype(np.float64), found[:, 0, 1, 0].astype(np.float64)
    contrast = (light - dark) / 70
    brightness = dark / contrast - 60
    generator = np.random.default_rng(8)
    plain = np.where(generator.uniform(size=4000) < 0.5, generator.uniform(0.5, 1.5, 4000), 1)
    assert ks_ratio(contrast.round(4), plain.round(4)) < 1
    plain = np.where(generator.uniform(size=4000) < 0.5, generator.uniform(-32, 32, 4000), 0)
    assert ks_ratio(brightness.round(2) + 0.0, plain.round(2)) < 1
    changed = np.stack([np.abs(contrast - 1) > 1e-4, np.abs(brightness) > 1e-2])
    assert np.abs(np.corrcoef(changed)[0, 1]) < 3.3 / np.sqrt(4000)


@pytest.mark.parametrize("color_space", ["matrix", "hsv"])
def test_grey_images_get_the_papers_spread(color_space):
    image = np.array([20.0, 90.0, 160.0, 250.0])  # some reach the ends of the scale
    found = distort_many(np.repeat(image[None, :, None], 3, axis=-1), 4000, color_space)
    found = np.clip(np.round(found), 0, 255)[:, 0, :, 0]
    generator = np.random.default_rng(9)
    plain = [plain_distortion(image, generator, is_grey=True) for _ in range(4000)]
    assert ks_ratio(found.mean(axis=1).round(), np.mean(plain, axis=1).round()) < 1
    assert ks_ratio(found.std(axis=1).round(), np.std(plain, axis=1).round()) < 1


@pytest.mark.parametrize("color_space", ["matrix", "hsv"])
def test_a_sixteenth_of_the_images_keep_their_colours(smooth, color_space):
    found = distort_many(smooth[::40, ::40], 1600, color_space)
    error = np.abs(found - smooth[::40, ::40]).max(axis=(1, 2, 3))
    assert abs((error < 1e-3).mean() - 1 / 16) < 3.3 * np.sqrt(1 / 16 * 15 / 16 / 1600)


def test_hsv_equals_colorsys(smooth):
    """The draws are repeated here: four switches, then four amounts."""
    image = smooth[::53, ::71].reshape(-1, 3).astype(np.float32)
    turned = 0
    for number in range(60):
        seed = tf.constant([3, number], tf.int64)
        draws = tf.random.stateless_uniform([8], seed).numpy().astype(np.float64)
        on = draws[:4] < 0.5
        shifted = image + (draws[4] * 64 - 32) * on[0]
        scaled = np.clip(shifted * (0.5 + draws[5] if on[1] else 1), 0, 255) / 255
        saturation, turn = 0.5 + draws[6] if on[2] else 1, (draws[7] - 0.5) * 0.2 * on[3]
        expected = [plain_saturation_and_hue(color, saturation, turn) for color in scaled]
        found = distort_colors(image[None], seed, "hsv")[0]
        np.testing.assert_allclose(found, np.array(expected) * 255, atol=0.02)
        turned += on[2] and on[3]
    assert turned > 5


def test_colours_have_the_papers_spread(smooth):
    """Channel means and deviations of many draws, against the plain sequence in HSV.

    Under "hsv" the channel means are of the same distribution. "matrix" keeps the mean of the
    three channels where HSV keeps the largest, so more saturation does not darken and less does
    not brighten, and strong colours spread less (up to a quarter, in the weakest channel). On
    photographs the two differ by 1.4 to 7.2 grey levels a pixel (mean absolute difference with
    the same draws; blood cells 1.6, street and animals 1.4 to 4.1, a flower and a ginger cat 7).
    """
    image = smooth[::20, ::20].reshape(-1, 3).astype(np.float64)
    generator = np.random.default_rng(10)
    plain = np.array([plain_distortion(image, generator) for _ in range(2000)])
    found = {
        space: np.clip(np.round(distort_many(image[None], 2000, space)[:, 0]), 0, 255)
        for space in COLOR_SPACES
    }
    for channel in range(3):
        start = image[:, channel].mean()
        # Relative to the image's mean and in whole levels: rounding at each step of the plain
        # sequence scatters what no distortion changes.
        plain_means = np.round(plain[..., channel].mean(axis=1) - start)
        means = np.round(found["hsv"][..., channel].mean(axis=1) - start)
        assert ks_ratio(means, plain_means) < 1
        for space, ratio in (("hsv", 0.1), ("matrix", 0.25)):
            means = found[space][..., channel].mean(axis=1)
            deviations = found[space][..., channel].std(axis=1).mean()
            assert abs(means.mean() - plain_means.mean() - start) < 4
            assert means.std() == pytest.approx(plain_means.std(), rel=ratio)
            assert deviations == pytest.approx(plain[..., channel].std(axis=1).mean(), rel=0.05)
    assert 1 < np.abs(found["matrix"] - found["hsv"]).mean() < 8
