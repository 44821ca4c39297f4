"""Augmentation: its options, geometry, rendering, colors, and steps that users add."""
