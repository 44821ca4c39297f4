"""Losses of boxes and classes."""

from ssd_keras.losses.box import BoxLoss, CIoULoss, DIoULoss, GIoULoss, SmoothL1Loss
from ssd_keras.losses.classification import ClassLoss, SigmoidLoss, SoftmaxLoss
from ssd_keras.losses.focal import FocalLoss
from ssd_keras.losses.quality import QualityFocalLoss, VarifocalLoss

__all__ = [
    "BoxLoss",
    "CIoULoss",
    "ClassLoss",
    "DIoULoss",
    "FocalLoss",
    "GIoULoss",
    "QualityFocalLoss",
    "SigmoidLoss",
    "SmoothL1Loss",
    "SoftmaxLoss",
    "VarifocalLoss",
]
