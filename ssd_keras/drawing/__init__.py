"""Drawings of boxes, detections, contact sheets and training curves."""
