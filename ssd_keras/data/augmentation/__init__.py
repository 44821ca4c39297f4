"""Augmentation: geometry, rendering, colors."""
