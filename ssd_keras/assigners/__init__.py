"""Assigners: which default box learns which object."""

from ssd_keras.assigners.argmax import ArgmaxAssigner
from ssd_keras.assigners.assigner import Assigner
from ssd_keras.assigners.atss import ATSSAssigner
from ssd_keras.assigners.max_iou import MaxIoUAssigner
from ssd_keras.assigners.sim_ota import SimOTAAssigner
from ssd_keras.assigners.task_aligned import TaskAlignedAssigner

__all__ = [
    "ATSSAssigner",
    "ArgmaxAssigner",
    "Assigner",
    "MaxIoUAssigner",
    "SimOTAAssigner",
    "TaskAlignedAssigner",
]
