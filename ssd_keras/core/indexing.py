"""Which entries of a sequence an index chooses, as NumPy's rules are."""

import operator
from typing import Any

import numpy as np


def chosen_rows(index: Any, length: int, noun: str) -> int | np.ndarray:
    """Returns one position, or the positions of a slice, a mask or several indices.

    `noun` names an entry in messages: "detection".
    """
    if isinstance(index, slice):
        return np.arange(length)[index]
    rows = np.asarray(index)
    if rows.dtype == bool and rows.shape == (length,):
        return np.flatnonzero(rows)
    if isinstance(index, list | tuple) and not index:
        return np.zeros(0, np.int64)
    if rows.dtype.kind not in "iu" or rows.ndim > 1:
        given = f"shape {rows.shape} of {rows.dtype}" if rows.ndim else repr(index)[:80]
        raise IndexError(
            f"the index is {given}; expected the number of one {noun}, a slice, a mask [{length}] "
            "or a list of numbers."
        )
    if rows.size and not -length <= rows.min() <= rows.max() < length:
        wrong = rows.min() if rows.min() < -length else rows.max()
        raise IndexError(f"there is no {noun} {wrong}; there are {length}, counted from 0.")
    rows = rows.astype(np.int64) % max(length, 1)
    return rows if rows.ndim else operator.index(rows)
