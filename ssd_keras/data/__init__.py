"""Data sets for detection: images, annotations, and what is wrong with them.

`load_data` reads VOC, COCO and YOLO folders, CSV tables, TFRecords and generated shapes into plain
records, without decoding an image. Boxes keep the numbers of the files; `Example.relative_boxes`
returns them relative to the image.

Example:
    >>> from ssd_keras.data import load_data
    >>> data = load_data("synthetic:shapes@train[:4]")
    >>> len(data), data.class_names
    (4, ('circle', 'square', 'triangle', 'star', 'cross'))
"""

from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.sources import load_data

__all__ = ["DetectionData", "Example", "Problem", "ProblemKind", "load_data"]
