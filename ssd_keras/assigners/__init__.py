"""Assigners: which default box learns which object."""

from ssd_keras.assigners.assigner import Assigner
from ssd_keras.assigners.max_iou import MaxIoUAssigner

__all__ = ["Assigner", "MaxIoUAssigner"]
