"""Exports to SavedModel and TFLite, with decoding and NMS inside; checks and loads them."""
