"""Augmentation: its options, geometry, rendering, colors, and steps of a user's own."""
