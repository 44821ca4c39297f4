"""Importers of weights that were trained elsewhere, one module for each source."""

SOURCES = ("torchvision", "caffe", "object-detection-api", "keras")
