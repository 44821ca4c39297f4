"""Processes that read and augment the images of a training, on this host or others."""
