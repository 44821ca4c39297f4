"""Detects objects with Spark: python spark_udf.py photos --model detector/1 --output found

It needs pyspark, pandas, PyArrow, TensorFlow and Java, and reads a SavedModel of `ssd-keras
export`. Another program takes `detect_udf`, a pandas UDF from a column of the bytes of image files,
of any sizes, to a column of detections.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, pandas_udf

BATCH_SIZE = 8
# Boxes are top, left, bottom, right in 0..1 of the image.
SCHEMA = (
    "image_is_valid boolean, boxes array<array<float>>, scores array<float>, "
    "class_names array<string>"
)


def detect_udf(path: str, batch_size: int = BATCH_SIZE) -> Callable:
    """Returns the UDF of a SavedModel; a broken image has no detections and harms no other."""

    @pandas_udf(SCHEMA)
    def detect(columns: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        import tensorflow as tf

        model = tf.saved_model.load(path)  # once for all batches of a partition
        signature = model.signatures["serving_default"]
        for contents in columns:
            frames = [pd.DataFrame(columns=["image_is_valid", "boxes", "scores", "class_names"])]
            for start in range(0, len(contents), batch_size):
                batch = contents.iloc[start : start + batch_size]
                frames.append(to_frame(signature(image_bytes=tf.constant(batch.tolist()))))
            yield pd.concat(frames[1:] or frames, ignore_index=True)

    return detect


def to_frame(found: dict) -> pd.DataFrame:
    """Returns a row for each image of a batch, without the unused slots."""
    columns = {name: value.numpy() for name, value in found.items()}
    rows = list(enumerate(columns["num_detections"]))
    names = columns["detection_class_names"]
    return pd.DataFrame(
        {
            "image_is_valid": columns["image_is_valid"],
            "boxes": [columns["detection_boxes"][i, :count].tolist() for i, count in rows],
            "scores": [columns["detection_scores"][i, :count].tolist() for i, count in rows],
            "class_names": [[name.decode() for name in names[i, :count]] for i, count in rows],
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", help="folder or pattern, also of an object storage")
    parser.add_argument("--model", required=True, help="SavedModel that `ssd-keras export` wrote")
    parser.add_argument("--output", required=True, help="folder of Parquet files to write")
    parsed = parser.parse_args()
    if "://" not in parsed.model and not os.path.isfile(f"{parsed.model}/saved_model.pb"):
        print(f"error: {parsed.model!r} is no SavedModel; pass its folder", file=sys.stderr)
        return 2
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else Spark takes python3
    spark = SparkSession.builder.appName("detect").getOrCreate()
    # A row is a whole file: Spark's own 10,000 rows of a batch would fill the memory.
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 8 * BATCH_SIZE)
    files = spark.read.format("binaryFile").load(parsed.images)
    found = files.select(col("path").alias("image"), detect_udf(parsed.model)("content").alias("d"))
    found.select("image", "d.*").write.parquet(parsed.output)
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
