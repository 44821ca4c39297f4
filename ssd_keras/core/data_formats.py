"""Names of the file formats that data sets are written in."""

DATA_FORMATS = ("voc", "coco", "yolo", "tfrecord")
