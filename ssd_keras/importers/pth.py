"""Reads PyTorch's ``.pth`` files as NumPy arrays, without running code that they contain."""

import os
import pickle
import re

import numpy as np

# Of a ZIP archive, and of a pickle as PyTorch wrote it before 1.6.
FIRST_BYTES = (b"PK", b"\x80")


def read_pth(path: str) -> dict[str, np.ndarray]:
    """Returns the floating-point arrays of a state dict by name, as float32."""
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path!r} does not exist; pass the path of a .pth file.")
    with open(path, "rb") as file:
        start = file.read(64)
    if start.lstrip()[:1] == b"<":
        raise ValueError(
            f"{path!r} is a web page, not weights; expected a .pth file: download it again."
        )
    if not start.startswith(FIRST_BYTES):
        raise ValueError(
            f"{path!r} is not a .pth file (it begins with {start[:8]!r}); expected a state dict "
            "that torch.save wrote."
        )
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"reading {path!r} needs PyTorch, which is not installed; run: pip install torch"
        ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises six classes of errors for damaged files
        raise ValueError(_unreadable_message(path, error)) from error
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    arrays = {}
    if isinstance(content, dict):
        arrays = {
            name: value.detach().to(torch.float32).numpy()
            for name, value in content.items()
            if isinstance(value, torch.Tensor) and value.is_floating_point()
        }
    if not arrays:
        raise ValueError(
            f"{path!r} holds a {type(content).__name__} without weights; pass a state dict: "
            "torch.save(model.state_dict(), path)."
        )
    return arrays


def _unreadable_message(path: str, error: Exception) -> str:
    function = re.search(r"GLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and function:
        return (
            f"{path!r} is refused: reading it would call {function[1]}; nothing was run. Expected "
            "arrays alone: pass a state dict, torch.save(model.state_dict(), path), from a source "
            "that you trust."
        )
    reason = " ".join(str(error).split()).partition(". ")[0][:120] or type(error).__name__
    return (
        f"{path!r} is damaged or not a .pth file ({reason}); expected a state dict that "
        "torch.save wrote: download it again and compare its size and checksum."
    )
