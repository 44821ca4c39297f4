"""Data sets for detection: where the images lie, what is in them, and what is wrong with them.

`load_data` reads VOC folders, COCO files and generated shapes into plain records without decoding
a single image. Boxes stay as the files have them; `Example.relative_boxes` gives the library's
own form.

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
