"""Detections as rows of a table."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ssd_keras.boxes.formats import CORNERS
from ssd_keras.core.extras import import_package

if TYPE_CHECKING:
    import pandas


def table_of(results: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Returns the detections of dictionaries of `DetectionResult.to_dict` as one table."""
    rows = [
        (result["image_id"], one["class_name"], one["score"], *one["box"].values())
        for result in results
        for one in result["detections"]
    ]
    columns = ["image_id", "class_name", "score", *CORNERS]
    return import_package("pandas", "to_pandas").DataFrame(rows, columns=columns)
