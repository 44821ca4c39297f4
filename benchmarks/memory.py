"""Memory of the training input pipeline of SSD300 over 30,000 images."""

import os

import numpy as np
from input_pipeline import SsdKeras as Pipeline
from pairs import Side, row, spread

BATCH_SIZE = 16


class SsdKeras(Pipeline):
    def __init__(self, detail):
        super().__init__(detail, BATCH_SIZE, 0)
        self.iterator = iter(self.training)

    def resident_after(self, batches):
        """Bytes that the process holds in memory after `batches` more."""
        for _ in range(batches):
            next(self.iterator)
        with open("/proc/self/statm") as file:
            return {"bytes": int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")}


SIDES = {"ssd_keras": SsdKeras}


def benchmark(tiny):
    steps, batches = (8, 1) if tiny else (75, 25)
    with Side("memory", "ssd_keras", detail="smooth") as ours:
        values = [ours.resident_after(batches=batches)["bytes"] for _ in range(steps)]
    # In the first third tf.data tunes itself, and its memory grows for 8,000 images.
    first, last = np.array_split(values[steps // 3 :], 2)
    what = f"memory of the input pipeline over {steps * batches * BATCH_SIZE} images: second half"
    # Allocators keep a little; a leak of one image in ten gives 1.4.
    growth = row(what, "first half", spread(last / np.median(first)), at_most=1.02)
    result = {"images_between": batches * BATCH_SIZE, "others_share": None}
    return {"rows": [growth], "resident_bytes": values, **result}
