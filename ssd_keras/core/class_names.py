"""Class names of the published data sets, and their aliases."""

from collections.abc import Sequence

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat",
    "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack",
    "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball",
    "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket",
    "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair",
    "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse",
    "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush",
)  # fmt: skip

UNUSED_COCO_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""The ids from 1 to 90 that COCO announced and never used: torchvision's "N/A"."""


def _coco_classes_by_id():
    used = iter(COCO_CLASSES)
    return tuple(
        f"unused COCO id {number}" if number in UNUSED_COCO_IDS else next(used)
        for number in range(1, 1 + len(COCO_CLASSES) + len(UNUSED_COCO_IDS))
    )


COCO_CLASSES_BY_ID = _coco_classes_by_id()
"""Names of COCO's ids 1 to 90: the label of a detection is its id less one.

The ten unused ids keep a place in torchvision's models, for their outputs take part in the softmax:
without them every score would differ. Their names match no class of any data set, and training has
taught the model never to find them.
"""

SHAPE_CLASSES = ("circle", "square", "triangle", "star", "cross")


ALIASES = (
    ("aeroplane", "airplane"),
    ("motorbike", "motorcycle"),
    ("sofa", "couch"),
    ("diningtable", "dining table"),
    ("pottedplant", "potted plant"),
    ("tvmonitor", "tv"),
)
"""VOC's names and COCO's."""


def labels_by_name(class_names: Sequence[str]) -> dict[str, int]:
    """The label of every name that a data set may have for these classes."""
    labels = {name: label for label, name in enumerate(class_names)}
    for names in ALIASES:
        for known in labels.keys() & set(names):
            for alias in names:
                labels.setdefault(alias, labels[known])
    return labels


def united_names(names_of_sources: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The classes of several data sets together."""
    first, *others = names_of_sources
    names = list(dict.fromkeys(first))
    for own in others:
        known = labels_by_name(names)
        names += [name for name in dict.fromkeys(own) if name not in known]
    return tuple(names)
