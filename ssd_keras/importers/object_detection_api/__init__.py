"""Imports detectors of the TF Object Detection API."""

from ssd_keras.importers.object_detection_api.source import (
    import_object_detection_api as import_object_detection_api,
)
