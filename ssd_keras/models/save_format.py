"""Refuses HDF5 files, which Keras would write for an SSD and not read again."""

import os
from typing import Any

import keras

SUFFIX = ".keras"


def check_model_path(path: Any) -> None:
    """Raises a `ValueError` for a file of another format than `.keras`."""
    if isinstance(path, str | os.PathLike) and not str(path).endswith(SUFFIX):
        raise _unreadable(repr(os.fspath(path)))


def check_checkpoints(callbacks: Any) -> None:
    """Raises a `ValueError` for a `ModelCheckpoint` that would write such a file."""
    several = getattr(callbacks, "callbacks", callbacks)  # of a `CallbackList`
    for callback in several if isinstance(several, list | tuple) else [several]:
        if isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_weights_only:
            check_model_path(callback.filepath)


def refuse_hdf5(backbone: keras.Model) -> None:
    """Raises a `ValueError` while `keras.saving.save_model` writes HDF5, which it says nowhere."""
    # For HDF5 alone, Keras describes layers without their modules.
    layers = backbone.get_config().get("layers", ())
    if any("module" not in layer for layer in layers):
        raise _unreadable("an HDF5 file")


def _unreadable(name: str) -> ValueError:
    return ValueError(
        f"{name} would hold an SSD that Keras cannot read again; save the model as a .keras file, "
        "or its weights alone with save_weights('NAME.weights.h5')."
    )
