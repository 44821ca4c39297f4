"""Memory of the input pipeline while 30,000 images pass, SSD300."""

import os

import numpy as np
from input_pipeline import SsdKeras as Pipeline
from pairs import Side, row, spread

BATCH_SIZE = 16
MAX_GROWTH = 1.02  # allocators keep a little; a leak of one image in ten would be 1.4


class SsdKeras(Pipeline):
    """The pipeline of `input_pipeline`, one stream that goes on."""

    def __init__(self, detail, batch_size):
        super().__init__(detail, batch_size)
        self.iterator = iter(self.trained)

    def resident_after(self, batches):
        """Bytes that the process holds in memory when so many batches more have passed."""
        for _ in range(batches):
            next(self.iterator)
        with open("/proc/self/statm") as file:
            return {"bytes": int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")}


SIDES = {"ssd_keras": SsdKeras}


def benchmark(tiny):
    steps, batches = (8, 1) if tiny else (75, 25)
    with Side("memory", "ssd_keras", detail="smooth", batch_size=BATCH_SIZE) as ours:
        values = [ours.ask("resident_after", batches=batches)["bytes"] for _ in range(steps)]
    # In the first third the data set tunes itself: what is alive grows for 8,000 images.
    settled = np.array(values[steps // 3 :])
    first, last = np.array_split(settled, 2)
    growth = spread(last / np.median(first))
    images = steps * batches * BATCH_SIZE
    what = f"memory of the input pipeline over {images} images: second half"
    return {
        "rows": [row(what, "first half", growth, "at most", MAX_GROWTH)],
        "resident_bytes": values,
        "images_between": batches * BATCH_SIZE,
        "others_share": None,
    }
