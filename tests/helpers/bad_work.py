"""Work for the fuzzer's processes that goes wrong, each task by its name."""

import os
import time

import numpy as np


def do(task, folder):
    os.makedirs(folder)
    if task.name == "crash":
        os.abort()
    if task.name == "hang":
        time.sleep(600)
    if task.name == "memory":
        np.ones(10 * 1024**3, np.uint8)
    return "reported", f"{task.name} in {os.path.basename(folder)}"
