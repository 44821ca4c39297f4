"""SSD300 on MobileNetV1, as the TF Object Detection API builds it."""

from collections.abc import Sequence

from ssd_keras.boxes.default_boxes import VARIANCES, DefaultBoxes
from ssd_keras.models.backbones.mobilenet_v1 import CHANNELS, SOURCES, _style, mobilenet_v1
from ssd_keras.models.blocks import SAME
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

EXTRAS = tuple(
    ExtraLayer(bottleneck, filters, padding=SAME)
    for bottleneck, filters in ((256, 512), (128, 256), (128, 256), (64, 128))
)


PREPROCESSOR = {"mean": (127.5, 127.5, 127.5), "scale": 1 / 127.5}


SETTINGS = PostProcess(0.01, 0.6, max_candidates=100, max_detections=100)
"""The Object Detection API's, but for its score threshold of 1e-8, below which nothing is told
apart."""


def object_detection_boxes(
    image_size: tuple[int, int],
    boxes_per_cell: Sequence[int],
    smallest: float = 0.2,
    largest: float = 0.95,
    first_square: float = 0.1,
    variances: Sequence[float] = VARIANCES,
) -> DefaultBoxes:
    """The default boxes of the Object Detection API's `ssd_anchor_generator`."""
    side, steps = min(image_size), max(1, len(boxes_per_cell) - 1)
    scales = [smallest + (largest - smallest) * i / steps for i in range(len(boxes_per_cell))]
    is_reduced = boxes_per_cell[0] % 2 == 1
    return DefaultBoxes(
        tuple(round(scale * side, 6) for scale in (*scales, 1.0)),
        tuple((2.0, 3.0)[: (count - 1) // 2] for count in boxes_per_cell),
        first_square=round(first_square * side, 6) if is_reduced else None,
        variances=(variances[0], variances[1], variances[2], variances[3]),
    )


def ssd_mobilenet_v1(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    *,
    channels: Sequence[int] = CHANNELS,
    extra_layers: Sequence[ExtraLayer] = EXTRAS,
    default_boxes: DefaultBoxes | None = None,
    batch_norm: bool = True,
    preprocessor: dict | None = None,
    post_process: PostProcess | None = None,
    activation: str = "sigmoid",
    backbone_weights: str | None = None,
    name: str = "ssd_mobilenet_v1",
) -> SSD:
    """SSD on MobileNetV1 with the numbers of the Object Detection API (arXiv 1611.10012).

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        channels: of the backbone; see `mobilenet_v1`.
        extra_layers: `ExtraLayer`s. Default the Object Detection API's.
        default_boxes: `DefaultBoxes`. Default `object_detection_boxes`.
        batch_norm: False leaves batch normalisation out everywhere. Default True.
        preprocessor: arguments of `Preprocessor`. Default: images in -1..1.
        post_process: default IoU 0.6, score 0.01, 100 and 100.
        activation: "sigmoid" (default) or "softmax".
        backbone_weights: None or a path; see `mobilenet_v1`.
        name: name of the model.

    Returns:
        `SSD`.

    Example:

    >>> model = ssd_mobilenet_v1((300, 300), ["cat"])
    >>> model.feature_sizes[0], len(model.default_box_array)
    ((19, 19), 1917)
    """
    counts = (3,) + (6,) * (len(SOURCES) + len(extra_layers) - 1)
    return SSD(
        mobilenet_v1(image_size, channels, batch_norm, backbone_weights),
        default_boxes or object_detection_boxes(image_size, counts),
        class_names,
        image_size,
        extra_layers,
        style=_style(batch_norm),
        preprocessor=preprocessor or PREPROCESSOR,
        post_process=post_process or SETTINGS,
        activation=activation,
        name=name,
    )
