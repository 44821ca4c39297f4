"""The detections in several images: a list that a notebook shows as a contact sheet."""

from collections import Counter
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from ssd_keras.core.text import short_list
from ssd_keras.drawing.results import DetectionResult
from ssd_keras.drawing.sheet import notebook_png, sheet_of_first
from ssd_keras.drawing.tables import table_of

if TYPE_CHECKING:
    import pandas


class DetectionResults(list[DetectionResult]):
    """A list of the detections in several images, as `detect` gives it.

    Example:
        >>> import numpy as np
        >>> one = DetectionResult(np.ones((2, 4)), [0.9, 0.1], [0, 0], ("cat",), (40, 100))
        >>> DetectionResults([one, one])
        DetectionResults(2 images: 2 cat)
        >>> len(DetectionResults([one, one])[:1])
        1
    """

    def __repr__(self) -> str:
        """Counts what `plot` draws, by class."""
        counts = Counter(
            one.class_name for result in self for one in result.above(result.display_threshold)
        )
        words = short_list([f"{count} {name}" for name, count in counts.most_common()])
        images = "1 image" if len(self) == 1 else f"{len(self)} images"
        return f"DetectionResults({images}: {words or 'nothing'})"

    @overload
    def __getitem__(self, index: SupportsIndex) -> DetectionResult: ...

    @overload
    def __getitem__(self, index: slice) -> "DetectionResults": ...

    def __getitem__(self, index: Any) -> "DetectionResult | DetectionResults":
        found = super().__getitem__(index)
        return DetectionResults(found) if isinstance(index, slice) else found

    def _repr_png_(self) -> bytes | None:
        """Returns the first drawings as a contact sheet; None where there is none."""
        sheet = sheet_of_first(self, DetectionResult.plot, lambda one: one.image_id, len(self))
        return None if sheet is None else notebook_png(sheet)

    def to_pandas(self) -> "pandas.DataFrame":
        """Returns the detections in all images as one table.

        Returns:
            `pandas.DataFrame`, as of `DetectionResult.to_pandas`.

        Raises:
            ImportError: pandas is not installed.
        """
        return table_of(result.to_dict() for result in self)
