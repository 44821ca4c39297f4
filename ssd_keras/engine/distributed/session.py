"""A training's devices and processes, and what several processes must have in common."""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from ssd_keras.data.records import DetectionData
from ssd_keras.data.workers.service import DataWorkers
from ssd_keras.engine.distributed.devices import Devices
from ssd_keras.engine.distributed.process_group import ProcessGroup
from ssd_keras.engine.distributed.step_limit import StepLimit
from ssd_keras.engine.distributed.sync import EpochBarrier, SyncBatchNorm
from ssd_keras.engine.recipes import TrainRecipe


class Session(NamedTuple):
    """The devices, processes and data workers of a training, which are connected."""

    devices: Devices
    group: ProcessGroup
    workers: DataWorkers
    stop_when: Callable[[], bool] | None = None

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Returns callbacks for `fit`, to run after all that score or write."""
        own: list[keras.callbacks.Callback] = []
        if self.group.size > 1:
            own += [EpochBarrier(self.group), StepLimit(self.group, self.devices.step_seconds)]
        return own + [SyncBatchNorm()] * tf.distribute.has_strategy()

    def has_notice(self, step: int) -> bool:
        """Whether all processes stop behind this step."""
        if self.group.size > 1:
            return self.group.has_notice(step)
        return self.stop_when is not None and self.stop_when()


def check_for_several_hosts(
    recipe: TrainRecipe, callbacks: Sequence[keras.callbacks.Callback]
) -> None:
    """Refuses what works in one process alone."""
    if recipe.schedule.minutes:
        raise ValueError(
            f"schedule.minutes={recipe.schedule.minutes:g} is measured on one host; set "
            "schedule.steps for several."
        )
    if callbacks:
        raise ValueError(
            "callbacks would run on one of several hosts alone; train on one host, or pass none."
        )


def check_same(
    group: ProcessGroup,
    recipe: TrainRecipe,
    train_data: DetectionData,
    validation_data: DetectionData | None,
    devices: Devices,
) -> None:
    """Refuses processes that were started with different arguments."""
    group.check_same(
        {
            "batch size": recipe.run.batch_size,
            "devices": devices.number,
            "recipe": hashlib.sha256(recipe.to_toml().encode()).hexdigest()[:8],
            "classes": ", ".join(train_data.class_names),
            "number of images": len(train_data),
            "number of validation images": len(validation_data or ()),
        }
    )
