"""Keras callbacks that show a training: progress, curves in a notebook, TensorBoard."""

import io
import os
import sys
import tempfile
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tqdm.auto import tqdm

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.core.terminal import is_notebook
from ssd_keras.data.images import decode_example
from ssd_keras.drawing.curves import plot_history
from ssd_keras.drawing.draw import draw_boxes
from ssd_keras.drawing.results import DetectionResult
from ssd_keras.drawing.sheet import contact_sheet
from ssd_keras.engine.callbacks import Logs, ValidationAP, history_row, short_names

LINE_SECONDS = 60.0
TENSORBOARD_IMAGES = 4
CELL = 320  # pixels


class Progress(keras.callbacks.Callback):
    """Shows the progress of the training and the time left on stderr.

    `show` is True for a bar, "lines" for a line after each epoch and at least each minute.
    """

    def __init__(self, total_steps: int, done_steps: int, show: bool | str) -> None:
        super().__init__()
        self.total, self.initial = total_steps, done_steps
        self.shows_bar, self.shows_lines = show is True, show == "lines"
        self.scores: dict[str, str] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        self.bar = tqdm(
            desc="training",
            unit="step",
            smoothing=0.05,
            total=self.total,
            initial=self.initial,
            disable=not self.shows_bar,
        )
        self.done, self.epoch = self.initial, 0
        self.first = self.last_line = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.done += 1
        if self.done == self.initial + 1:  # the first step compiles: it says nothing of the others
            self.first = time.monotonic()
        losses = {name: f"{value:.2f}" for name, value in (logs or {}).items() if name == "loss"}
        self.bar.set_postfix({**losses, **self.scores}, refresh=False)
        self.bar.update()
        if self.shows_lines and time.monotonic() - self.last_line >= LINE_SECONDS:
            self._print(f"step {batch + 1} of {self.params['steps']} in epoch {self.epoch}", logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        for name in ("val_AP", "val_AP50"):
            if (logs or {}).get(name) is not None:
                self.scores[name] = f"{logs[name]:.3f}"  # type: ignore[index]
        if self.shows_lines:
            self._print(f"epoch {epoch + 1}", logs)

    def _print(self, title: str, logs: Logs) -> None:
        logs = logs or {}
        parts = [f"loss {logs.get('loss', float('nan')):.2f}"]
        for name in ("val_AP", "val_AP50"):
            if logs.get(name) is not None:
                parts.append(f"{name.removeprefix('val_')} {logs[name]:.3f}")
        self.last_line = time.monotonic()
        rate = (self.last_line - self.first) / max(1, self.done - self.initial - 1)
        minutes = (self.total - self.done) * rate / 60
        left = f"; about {minutes:.0f} min left" if self.done < self.total else ""
        text = f"{title}/{self.params['epochs']}: {', '.join(parts)}{left}"
        print(text, file=sys.stderr, flush=True)

    def on_train_end(self, logs: Logs = None) -> None:
        self.bar.close()


class LiveCurves(keras.callbacks.Callback):
    """Redraws the curves of a training below the cell of a notebook; does nothing elsewhere.

    Loss, validation AP (behind a `ValidationAP`) and learning rate, after every epoch.

    Example:
        >>> from ssd_keras import from_preset, load_data, training_dataset
        >>> model = from_preset("ssd192_small_shapes", image_size=(64, 64), width=4)
        >>> model.compile("adam", run_eagerly=True)
        >>> data = load_data("synthetic:shapes@train[:4]")
        >>> images = training_dataset(data, model.target_encoder(), model.image_size, 4)
        >>> model.fit(images, verbose=0, callbacks=[LiveCurves()]).epoch
        [0]
    """

    def on_train_begin(self, logs: Logs = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.output: Any = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if not is_notebook():
            return
        from IPython.display import Image as Picture
        from IPython.display import display

        self.rows.append(history_row(self.model, epoch, logs))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "curves.png")
            plot_history(self.rows, path)
            picture = Picture(filename=path, width=500)
        if self.output is None:
            self.output = display(picture, display_id=True)
        else:
            self.output.update(picture)


class TensorBoardLog(keras.callbacks.Callback):
    """Writes the logs of every epoch for TensorBoard, under any Keras backend.

    After each validation it adds some of its images: on the left the objects, on the right the
    detections.
    """

    def __init__(self, directory: str, validation: ValidationAP | None = None) -> None:
        super().__init__()
        self.directory = directory
        self.validation = validation

    def on_train_begin(self, logs: Logs = None) -> None:
        self.writer = tf.summary.create_file_writer(self.directory)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        known = {k: value for k, value in short_names(logs or {}).items() if value is not None}
        # tf.summary.scalar would require the tensorboard package.
        make = tf.compat.v1.Summary.Value
        values = [make(tag=name, simple_value=value) for name, value in known.items()]
        if self.validation is not None and "val_AP" in known:
            values += [
                make(tag=f"validation/{index}", image=_png_summary(pixels))
                for index, pixels in enumerate(detection_sheets(self.validation))
            ]
        summary = tf.compat.v1.Summary(value=values)
        with self.writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=epoch + 1)
        self.writer.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        self.writer.close()


def detection_sheets(validation: ValidationAP) -> list[np.ndarray]:
    """Returns some validation images: with their objects, beside it with the last detections."""
    data, table = validation.data, validation.detections
    sheets = []
    for index, example in enumerate(data.examples[:TENSORBOARD_IMAGES]):
        pixels, size = decode_example(example), (example.height, example.width)
        rows = table[table.image_index == index].by_score()
        boxes = convert_boxes(rows.boxes, "xywh", "rel_yxyx", size)
        found = DetectionResult(
            boxes, rows.scores, rows.labels, data.class_names, size, example.image_id, pixels
        )
        objects = draw_boxes(
            pixels, example.relative_boxes(), example.labels, class_names=data.class_names
        )
        detections = np.asarray(found.plot(validation.detector.display_threshold))
        captions = ["objects", f"{example.image_id}: detections"]
        sheets.append(
            contact_sheet([objects, detections], columns=2, cell_size=CELL, captions=captions)
        )
    return sheets


def _png_summary(pixels: np.ndarray) -> Any:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    height, width, _ = pixels.shape
    return tf.compat.v1.Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=file.getvalue()
    )
