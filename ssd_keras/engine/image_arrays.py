"""Checks arrays that hold an image, and brings them to RGB in 0..255."""

from typing import Any

import numpy as np

OVERSHOOT = 25  # of pixels that were interpolated, beyond 0 and 255
# Images of floats in 0..1, or normalised by mean and deviation, have no value above it.
LARGEST_SHARE = 3
CHANNELS = (1, 3, 4)
EXPECTED = "expected [H, W, 3] in 0..255, or [H, W, 4], [H, W, 1] or [H, W]"


def is_array(value: Any) -> bool:
    """Whether a value is an array or tensor: NumPy, TensorFlow, JAX, PyTorch."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__array__")


def to_numpy(array: Any, name: str) -> np.ndarray:
    """Returns an array or tensor of any library in NumPy; `name` is its name in messages."""
    try:
        if hasattr(array, "detach"):  # of PyTorch: it may need gradients or be on a GPU
            array = array.detach().cpu()
            array = array.float() if str(array.dtype) == "torch.bfloat16" else array
        values = np.asarray(array)
    except Exception as error:  # of a symbolic tensor, each library has its own
        raise ValueError(
            f"{name} is a {type(array).__name__} without values; {EXPECTED}."
        ) from error
    return values.astype(np.float32) if values.dtype.name == "bfloat16" else values


def rgb_pixels(image: np.ndarray, name: str) -> tuple[np.ndarray, int]:
    """Returns an array as RGB [H, W, 3] in 0..255, and how many of 16 bits its levels use.

    Integers become uint8; of 16 bits the upper byte is kept, and transparency is left out, as
    reading a file does. Floats remain.
    """
    name = f"{name} of the shape {image.shape}"
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[-1] not in CHANNELS:
        if pixels.ndim == 3 and pixels.shape[0] in CHANNELS:
            raise ValueError(
                f"{name} has its channels first; {EXPECTED}: transpose it, such as by "
                "np.moveaxis(image, 0, -1)."
            )
        raise ValueError(f"{name} is no image; {EXPECTED}.")
    if not pixels.size:
        raise ValueError(f"{name} is empty; expected at least one pixel.")
    pixels, used_bits = _as_levels(pixels[..., :3], name)
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels, used_bits


def _as_levels(pixels: np.ndarray, name: str) -> tuple[np.ndarray, int]:
    """Returns integers as uint8, and floats in 0..255; the number of bits is as of `rgb_pixels`."""
    kind = pixels.dtype.kind
    if kind == "b":  # as files of one bit
        return pixels.astype(np.uint8) * np.uint8(255), 16
    if kind not in "uif":
        raise ValueError(f"{name} holds {pixels.dtype}; expected numbers: uint8 in 0..255.")
    low, high = float(pixels.min()), float(pixels.max())
    values = f"{name} has values from {low:.4g} to {high:.4g}"
    if pixels.dtype == np.uint16:
        if 0 < high <= 255:
            raise ValueError(
                f"{values} in uint16, which is nearly black of 65535; expected uint16 in 0..65535: "
                "convert it to uint8 if it is in 0..255."
            )
        return (pixels >> 8).astype(np.uint8), int(high).bit_length()
    overshoot = OVERSHOOT if kind == "f" else 0
    if not -overshoot <= low <= high <= 255 + overshoot:  # also not a number
        raise ValueError(f"{values}; expected 0..255.")
    if kind != "f":
        return pixels.astype(np.uint8), 16
    if low >= 0 and 0 < high <= 1:
        raise ValueError(f"{values}; expected 0..255: multiply by 255.")
    is_scaled = high <= LARGEST_SHARE and (low < 0 or bool((pixels != np.rint(pixels)).any()))
    if is_scaled:
        raise ValueError(f"{values}; expected 0..255: undo its normalisation.")
    return pixels, 16
