"""Names of the file formats that data sets are written in."""

PRE_LABEL_FORMATS = ("voc", "coco", "yolo")
"""Formats that labelling tools open."""
DATA_FORMATS = (*PRE_LABEL_FORMATS, "tfrecord")
ROW_FORMATS = ("parquet", "jsonl")
"""Files of batch prediction: a row for each image."""
