"""Draws boxes, contact sheets, curves and detections."""
