"""Class names: the same things under the names that different data sets have for them."""

from collections.abc import Sequence

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
    """The label of every name that a data set may have for these classes.

    Args:
        class_names: names in label order.

    Returns:
        label by name and by alias; a name of `class_names` itself is nobody's alias.

    Example:

    >>> labels_by_name(["tv", "cat"])
    {'tv': 0, 'cat': 1, 'tvmonitor': 0}
    """
    labels = {name: label for label, name in enumerate(class_names)}
    for names in ALIASES:
        for known in labels.keys() & set(names):
            for alias in names:
                labels.setdefault(alias, labels[known])
    return labels
