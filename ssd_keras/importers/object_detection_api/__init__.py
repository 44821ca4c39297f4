"""Imports detectors of the TF Object Detection API."""
