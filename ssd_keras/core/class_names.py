"""Class names of VOC, COCO and the generated shapes, and names that mean the same class."""

from collections.abc import Sequence

from ssd_keras.core.text import MAX_LENGTH, is_plain_text, one_line

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

SHAPE_CLASSES = ("circle", "square", "triangle", "star", "cross")

# COCO announced these ids between 1 and 90 and never used them: torchvision's "N/A".
UNUSED_COCO_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)

# Names of the ids 1 to 90. torchvision's models have outputs for the unused ids too: they take part
# in the softmax, so that every score would differ without them.
_used_names = iter(COCO_CLASSES)
COCO_CLASSES_BY_ID = tuple(
    f"unused COCO id {number}" if number in UNUSED_COCO_IDS else next(_used_names)
    for number in range(1, 1 + len(COCO_CLASSES) + len(UNUSED_COCO_IDS))
)

# Names of one class: VOC's and COCO's.
ALIASES = (
    ("aeroplane", "airplane"),
    ("motorbike", "motorcycle"),
    ("sofa", "couch"),
    ("diningtable", "dining table"),
    ("pottedplant", "potted plant"),
    ("tvmonitor", "tv"),
)


def check_class_names(class_names: Sequence[str]) -> None:
    """Raises a `ValueError` for class names that are no list of different texts in one line."""
    if isinstance(class_names, str):
        raise ValueError(f"class_names={class_names!r} is a string; pass a list of names.")
    if not isinstance(class_names, Sequence):
        raise ValueError(f"class_names is {class_names!r}; expected a list of names.")
    if not class_names:
        raise ValueError("class_names is empty; pass the name of at least one class.")
    for name in class_names:
        if not isinstance(name, str) or not is_plain_text(name) or len(name) > MAX_LENGTH:
            raise ValueError(
                f"class_names holds {one_line(repr(name))}; expected names of one line without "
                f"control characters, of at most {MAX_LENGTH} letters."
            )
    if len(set(class_names)) < len(class_names):
        repeated = next(name for name in class_names if list(class_names).count(name) > 1)
        raise ValueError(f"class_names holds {repeated!r} twice; name each class once.")


def labels_by_name(class_names: Sequence[str]) -> dict[str, int]:
    """Returns the label of each class name, and of its aliases that name no other class."""
    labels = {name: label for label, name in enumerate(class_names)}
    for aliases in ALIASES:
        for known in labels.keys() & set(aliases):
            for alias in aliases:
                labels.setdefault(alias, labels[known])
    return labels


def united_names(lists: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the class names of several data sets, each class once under its first name."""
    names: list[str] = []
    for class_names in lists:
        known = labels_by_name(names)
        names += [name for name in dict.fromkeys(class_names) if name not in known]
    return tuple(names)


def class_line(class_names: Sequence[str]) -> str:
    """Returns one line with the number of the classes and their names."""
    return f"{len(class_names)} classes: {', '.join(class_names)}"
