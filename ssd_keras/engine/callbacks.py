"""Keras callbacks of a training: validation AP, run folder, loss that is no number."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from ssd_keras.data.records import DetectionData
from ssd_keras.data.training_checks import check_images, check_objects, class_differences
from ssd_keras.drawing.curves import plot_history
from ssd_keras.engine.detector import KerasDetector
from ssd_keras.engine.distributed.process_group import ProcessGroup
from ssd_keras.engine.distributed.shared_detection import detect_shared
from ssd_keras.engine.distributed.sync import LocalModel, single_process
from ssd_keras.engine.run_directory import RunDirectory, TrainingState
from ssd_keras.evaluation.coco import coco_evaluation, coco_per_class, coco_summary
from ssd_keras.models.finite_weights import not_finite
from ssd_keras.optimizers.weight_average import averaged_weights

Logs = dict[str, Any] | None
TITLE = "validation data"
SCORES = ("val_AP", "val_AP50")


class ValidationAP(keras.callbacks.Callback):
    """Adds val_AP and val_AP50 (COCO's) to the logs every few epochs and after the last.

    Works with any `fit` of an `SSD`, not only with `ssd_keras.engine.train`. AP is the mean over
    the classes of the objects in the data; classes are compared with the model's by name, and a
    warning says where they differ. The weights are the averages, where the optimizer has any.

    Args:
        data: validation images.
        every: epochs between validations. Default 1.
        last_epoch: an epoch after which to validate in addition. Default 0: none.
        batch_size: images of one forward pass. Default 16.
        ap_by_class: also add the AP of each class in the data, as "val_AP/NAME". Default False.

    Raises:
        ValueError: data without objects, or with images that cannot be read; at the start of `fit`
            data that have no class in common with the model.
    """

    group = ProcessGroup()  # the processes that share a validation, in which process 0 alone scores

    def __init__(
        self,
        data: DetectionData,
        every: int = 1,
        last_epoch: int = 0,
        batch_size: int = 16,
        ap_by_class: bool = False,
    ) -> None:
        super().__init__()
        check_objects(data, TITLE)
        check_images(data, TITLE)
        self.data = data
        self.every = every
        self.last_epoch = last_epoch
        self.batch_size = batch_size
        self.ap_by_class = ap_by_class

    def on_train_begin(self, logs: Logs = None) -> None:
        if difference := class_differences(self.data, self.model.class_names, TITLE):
            warnings.warn(difference, stacklevel=2)
        self.local = LocalModel(self.model)
        self.detector = KerasDetector(self.local.model)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if is_due(epoch + 1, self.every, self.last_epoch):
            with averaged_weights(self.model), self.local.current():
                found = detect_shared(self.detector, self.data, self.batch_size, self.group)
            if found is None:
                return
            self.detections = found
            if logs is not None:
                logs.update(self._scores())

    def _scores(self) -> dict[str, float | None]:
        """Returns what the last detections add to the logs."""
        evaluation = coco_evaluation(self.data, self.detections)
        metrics, scores = coco_summary(evaluation), {}
        if self.ap_by_class:
            by_class = coco_per_class(self.data, evaluation).items()
            scores = {f"val_AP/{name}": x["AP"] for name, x in by_class if x["AP"] is not None}
        return {"val_AP": metrics["AP"], "val_AP50": metrics["AP50"], **scores}


class SaveRun(keras.callbacks.Callback):
    """Saves the best model, the history, the curves and the state to resume from."""

    def __init__(
        self, run: RunDirectory, state: TrainingState, every: int, last_epoch: int
    ) -> None:
        super().__init__()
        self.run = run
        self.state = state
        self.every = every
        self.last_epoch = last_epoch

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        state, logs = self.state, dict(logs or {})
        state.history.append(history_row(self.model, epoch, logs))
        if not is_due(epoch + 1, self.every, self.last_epoch) and not self.model.stop_training:
            return
        score = logs.get("val_AP")
        # Without validation data the latest model counts as the best.
        if state.best is None or (score is not None and score > state.best):
            state.best = score
            with single_process(), averaged_weights(self.model):
                self.run.save_model(self.model)
        self.run.write_history(state.history)
        plot_history(state.history, self.run.file("curves.png"))
        # Last: after a kill before this line, the resumed training repeats these epochs.
        state.epoch, state.step, state.sums = epoch + 1, 0, ()
        with single_process():
            self.run.save_state(self.model, state)


class StopOnNaN(keras.callbacks.Callback):
    """Stops a training whose loss or weights are not finite, before they are saved."""

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss became {loss} in step {batch + 1} of the epoch; lower learning_rate, "
                "or set gradient_norm=10, and start again."
            )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        # The loss of the last step was computed before its update of the weights.
        if layer := not_finite(self.model.weights):
            raise ValueError(
                f"the weights of {layer!r} are not finite after epoch {epoch + 1}; lower "
                "learning_rate, or set gradient_norm=10, and start again."
            )


def history_row(model: keras.Model, epoch: int, logs: Logs) -> dict[str, Any]:
    """Returns what the history keeps of an epoch, which counts from 0 here."""
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    return {"epoch": epoch + 1, "learning_rate": rate, **short_names(logs or {})}


def short_names(logs: dict[str, Any]) -> dict[str, Any]:
    """Returns the logs of `fit` with short names for the losses."""
    names = {"box_deltas_loss": "box_loss", "class_logits_loss": "class_loss"}
    return {names.get(name, name): value for name, value in logs.items()}


def check_monitors(callbacks: Sequence[keras.callbacks.Callback], has_validation: bool) -> None:
    """Raises a ValueError for a callback that waits for a value which a training never logs."""
    for callback in callbacks:
        monitor, what = getattr(callback, "monitor", None), f"callback {type(callback).__name__}"
        if monitor in SCORES and not has_validation:
            raise ValueError(
                f"{what} monitors {monitor}, and there are no validation data; pass some, or "
                "monitor 'loss'."
            )
        if monitor == "val_loss":
            raise ValueError(
                f"{what} monitors val_loss, which a training does not log; monitor val_AP with "
                "mode='max'."
            )
        if monitor in SCORES and getattr(callback, "mode", "max") != "max":
            raise ValueError(
                f"{what} monitors {monitor} with mode={callback.mode!r}; a higher AP is better: "
                "pass mode='max'."
            )


def is_due(epoch: int, every: int, last_epoch: int) -> bool:
    """Whether `epoch` (from 1) is a multiple of `every`, or the last one."""
    return epoch % every == 0 or epoch == last_epoch
