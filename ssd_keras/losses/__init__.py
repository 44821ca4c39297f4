"""Losses of boxes and classes."""

from ssd_keras.losses.box import BoxLoss, GIoULoss, SmoothL1Loss
from ssd_keras.losses.classification import ClassLoss, SigmoidLoss, SoftmaxLoss
from ssd_keras.losses.focal import FocalLoss

__all__ = [
    "BoxLoss",
    "ClassLoss",
    "FocalLoss",
    "GIoULoss",
    "SigmoidLoss",
    "SmoothL1Loss",
    "SoftmaxLoss",
]
