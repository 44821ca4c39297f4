"""Compares two detectors on a data set."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.core.class_names import labels_by_name
from ssd_keras.core.terminal import shows_progress
from ssd_keras.core.text import short_list
from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.compare import NUM_RESAMPLES, compare_detections

if TYPE_CHECKING:
    from ssd_keras.engine.detector import Detector
    from ssd_keras.models.ssd import SSD


def compare(
    first: "Detector | SSD",
    second: "Detector | SSD",
    data: DetectionData,
    batch_size: int = 8,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Compares COCO's average precisions of two detectors, with intervals of the differences.

    An interval is a paired bootstrap over the images: these are drawn with replacement, the same
    ones for both detectors, and the middle 95 % of the differences are the interval. If it
    excludes 0, other images of this kind would hardly turn the difference around.

    Args:
        first: what `load_detector` returns, or a model.
        second: the same, compared with the first.
        data: the annotated images. Only classes that both detectors know are compared, by name.
        batch_size: images in a forward pass. Default 8.
        num_resamples: how often the images are drawn. Default 1000.
        seed: of the drawing. Default 0.
        progress: whether to show progress bars. Default None: in terminals and notebooks.

    Returns:
        {"num_images", "num_resamples", "seed", "confidence": 0.95, "left_out": classes of the data
        that are not compared, "all": {name: row} for the names "AP", "AP50", "AP75", "AP_small",
        "AP_medium" and "AP_large" of COCO, over the classes, "classes": {class: {"AP": row,
        "AP50": row}}}. A row is {"first", "second", "difference": second - first, "low", "high"},
        0..1 and -1..1; None where there are no objects.

    Raises:
        ValueError: an image is broken, there are no resamples, or the data and both detectors have
            no class in common.

    Example:
        >>> from ssd_keras import from_preset, load_data
        >>> model = from_preset("ssd192_small_shapes")
        >>> data = load_data("synthetic:shapes@test[:4]")
        >>> compare(model, model, data, num_resamples=10)["all"]["AP"]["difference"]
        0.0
    """
    if num_resamples < 1:
        raise ValueError(f"num_resamples={num_resamples}; expected 1 or more.")
    options = {"num_resamples": num_resamples, "seed": seed, "progress": progress}
    (comparison,) = compare_with_first([first, second], data, batch_size, **options)
    return comparison


def compare_with_first(
    detectors: "Sequence[Detector | SSD]", data: DetectionData, batch_size: int, **options: Any
) -> list[dict[str, Any]]:
    """Returns the comparison of each further detector with the first; options as of `compare`."""
    from ssd_keras.engine.detector import detect_data

    pairs = [_common_classes(data, (detectors[0], other)) for other in detectors[1:]]
    options["progress"] = shows = shows_progress(options.get("progress"))
    first, *others = (detect_data(each, data, batch_size, shows)[0] for each in detectors)
    return [
        compare_detections(data, first, other, names, **options)
        for names, other in zip(pairs, others, strict=True)
    ]


def _common_classes(data: DetectionData, detectors: tuple[Any, ...]) -> list[str]:
    """Returns the classes of the data that all detectors know, by name or alias."""
    known = [labels_by_name(detector.class_names) for detector in detectors]
    names = [name for name in data.class_names if all(name in each for each in known)]
    if not names:
        lists = "; ".join(short_list(detector.class_names) for detector in detectors)
        raise ValueError(
            f"the data ({short_list(data.class_names)}) and the detectors ({lists}) have no class "
            "in common; pass detectors and data of the same classes."
        )
    return names
