"""Boxes: formats, IoU, coding, default boxes, NMS."""
