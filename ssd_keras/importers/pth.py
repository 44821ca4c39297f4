"""PyTorch's ``.pth`` files as NumPy arrays, read without running what may be written in them."""

import os
import pickle
import re

import numpy as np

STARTS = (b"PK", b"\x80")
"""Of a ZIP archive, and of a pickle as PyTorch wrote it before 1.6."""


def read_pth(path: str) -> dict[str, np.ndarray]:
    """Reads a ``.pth`` file of PyTorch without running anything that is written in it."""
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path!r} does not exist; pass the path of a .pth file.")
    with open(path, "rb") as file:
        start = file.read(64)
    if start.lstrip()[:1] == b"<":
        raise ValueError(
            f"{path!r} is a web page, not weights: its download went wrong; expected a .pth "
            "file: fetch it again."
        )
    if not start.startswith(STARTS):
        raise ValueError(
            f"{path!r} is no .pth file (it begins with {start[:8]!r}); expected a state dict that "
            "torch.save wrote."
        )
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"reading {path!r} needs PyTorch, which is not installed; run: pip install torch"
        ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises six kinds for damaged files
        raise ValueError(_why_unreadable(path, error)) from error
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


def _why_unreadable(path, error):
    wanted = re.search(r"GLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and wanted:
        return (
            f"{path!r} is refused: it wants to call {wanted[1]} while it is read, and nothing of "
            "it was run; expected arrays alone: pass a state dict, torch.save(model.state_dict(), "
            "path), from a source that you trust."
        )
    reason = " ".join(str(error).split()).partition(". ")[0][:120] or type(error).__name__
    return (
        f"{path!r} is damaged or no .pth file ({reason}); expected a state dict that torch.save "
        "wrote: fetch it again and compare its size and checksum."
    )
