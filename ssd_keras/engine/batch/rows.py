"""The rows of batch prediction, one for each image, as a Parquet file or as JSON lines."""

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssd_keras.core.extras import import_extra
from ssd_keras.drawing.results import DetectionResult

COLUMNS = ("image", "image_id", "image_is_valid", "problem", "height", "width")
LISTS = ("boxes_xyxy", "scores", "labels", "class_names")


def to_row(
    image: str, image_id: str | None, found: DetectionResult | None, problem: str | None
) -> dict[str, Any]:
    """Returns the row of an image; `found` is None for one that cannot be read."""
    row = dict.fromkeys((*COLUMNS, *LISTS))
    row |= {"image": image, "image_id": image_id, "problem": problem}
    row["image_is_valid"] = found is not None
    if found is None:
        return row | {name: [] for name in LISTS}
    height, width = map(int, found.image_size)
    return row | {
        "height": height,
        "width": width,
        "boxes_xyxy": found.boxes_as("xyxy").astype(np.float32),
        "scores": found.scores.astype(np.float32),
        "labels": found.labels.tolist(),
        "class_names": [found.class_names[label] for label in found.labels],
    }


def encode_rows(rows: Sequence[dict[str, Any]], format: str) -> bytes:
    """Returns a file of rows."""
    return _parquet(rows) if format == "parquet" else _json_lines(rows)


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    pa = import_extra("pyarrow", "ray", "writing Parquet")
    parquet = import_extra("pyarrow.parquet", "ray", "writing Parquet")
    types = {"image_is_valid": pa.bool_(), "height": pa.int32(), "width": pa.int32()}
    types |= {"boxes_xyxy": pa.list_(pa.list_(pa.float32())), "scores": pa.list_(pa.float32())}
    types |= {"labels": pa.list_(pa.int32()), "class_names": pa.list_(pa.string())}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in (*COLUMNS, *LISTS)])
    columns = {name: [row[name] for row in rows] for name in schema.names}
    columns["boxes_xyxy"] = [list(boxes) for boxes in columns["boxes_xyxy"]]
    content = io.BytesIO()
    parquet.write_table(pa.table(columns, schema), content, compression="zstd")
    return content.getvalue()


def _json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    lines = [json.dumps(row, default=_numbers, ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _numbers(values: np.ndarray) -> Any:
    """Returns float32 numbers in as few digits as give the same float32."""
    return values.astype(str).astype(float).tolist()
