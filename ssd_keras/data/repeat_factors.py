"""How often a training sees each image: images of rare classes and of weighted data sets more."""

from collections.abc import Sequence

import numpy as np

from ssd_keras.core.text import counted, one_line, short_list
from ssd_keras.data.records import DetectionData
from ssd_keras.data.training_checks import usable_objects

MAX_CLASSES = 5  # in the line that a training prints


def repeat_factors(
    data: DetectionData,
    threshold: float | None = None,
    source_weights: Sequence[float] = (),
    use_difficult: bool = True,
) -> np.ndarray:
    """Returns how often a training sees each image relative to the others.

    That of a class in the share f of the images is max(1, sqrt(threshold / f)); that of an image
    is the largest of its classes, times the weight of its data set. See LVIS (arXiv 1908.03195,
    version 2, appendix B.2), where the threshold is 0.001 for 1,200 classes.

    Args:
        data: the training data.
        threshold: share of the images, above 0 and at most 1, below which a class is rare.
            Default None: all classes count the same.
        source_weights: one number above 0 for each data set that `load_data` united, in its order,
            those of a data file one by one. Default none: all count the same.
        use_difficult: whether objects flagged as difficult count, as in `training_dataset`.
            Default True.

    Returns:
        float64 [images], above 0; `training_dataset(repeat_factors=...)` takes them.

    Raises:
        ValueError: for a threshold or weight out of range, or another number of weights than of
            data sets.

    Example:

    >>> from ssd_keras import load_data
    >>> data = load_data(["synthetic:shapes@train[:2]", "synthetic:shapes@val[:1]"])
    >>> repeat_factors(data, source_weights=[1, 2.5])
    array([1. , 1. , 2.5])
    """
    factors = np.ones(len(data))
    if threshold is not None:
        of_class = class_repeat_factors(data, threshold, use_difficult)
        labels = labels_of_images(data, use_difficult)
        factors = np.array([of_class[each].max(initial=1.0) for each in labels])
    if len(source_weights):
        weight_of = _weights_by_source(data, source_weights)
        factors = factors * [weight_of[example.source] for example in data.examples]
    return factors


def class_repeat_factors(
    data: DetectionData, threshold: float, use_difficult: bool = True
) -> np.ndarray:
    """Returns the repeat factor of each class, float64 [C]; 1 of those without an image."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold} must be above 0 and at most 1.")
    shares = image_shares(data, np.ones(len(data)), use_difficult)
    return np.maximum(1.0, np.sqrt(threshold / np.where(shares > 0, shares, 1.0)))


def image_shares(
    data: DetectionData, factors: np.ndarray, use_difficult: bool = True
) -> np.ndarray:
    """Returns the share of an epoch's images that have each class, float64 [C]."""
    shares = np.zeros(len(data.class_names))
    for labels, factor in zip(labels_of_images(data, use_difficult), factors, strict=True):
        shares[labels] += factor
    return shares / factors.sum()


def labels_of_images(data: DetectionData, use_difficult: bool = True) -> list[np.ndarray]:
    """Returns the labels of each image that are learned, each once."""
    return [np.unique(x.labels[usable_objects(x, use_difficult)]) for x in data.examples]


def rare_classes_line(
    data: DetectionData, factors: np.ndarray, threshold: float, use_difficult: bool = True
) -> str:
    """Returns which classes are rare, and how many images of an epoch have them."""
    of_class = class_repeat_factors(data, threshold, use_difficult)
    before = image_shares(data, np.ones(len(data)), use_difficult)
    after = image_shares(data, factors, use_difficult)
    rare = [label for label in np.argsort(-of_class, kind="stable") if of_class[label] > 1]
    words = [
        f"{data.class_names[label]} {of_class[label]:.1f} times "
        f"({after[label]:.0%} of the images instead of {before[label]:.0%})"
        for label in rare
    ]
    common = f"no class is in less than {threshold:.0%} of the images"
    return f"repeat_factor: {short_list(words, MAX_CLASSES) or common}"


def source_weights_line(data: DetectionData, factors: np.ndarray, weights: Sequence[float]) -> str:
    """Returns the weight of each data set, and its share of the images of an epoch."""
    sources = np.array([example.source for example in data.examples], object)
    words = []
    for source, weight in _weights_by_source(data, weights).items():
        is_own = sources == source
        after, before = factors[is_own].sum() / factors.sum(), is_own.mean()
        name = one_line(source) or "all"
        words.append(f"{name} {weight:g} ({after:.0%} of the images instead of {before:.0%})")
    return f"source_weights: {', '.join(words)}"


def _weights_by_source(data: DetectionData, weights: Sequence[float]) -> dict[str, float]:
    sources = list(dict.fromkeys(example.source for example in data.examples))
    if len(weights) != len(sources):
        names = f" ({one_line(short_list(sources))})" if any(sources) else ""
        raise ValueError(
            f"source_weights={list(weights)} for {counted(len(sources), 'data set')}{names}; give "
            "one weight for each, in this order."
        )
    if not all(0 < weight < np.inf for weight in weights):
        raise ValueError(f"source_weights={list(weights)} must be finite and above 0.")
    return dict(zip(sources, weights, strict=True))
