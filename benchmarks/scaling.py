"""How the cost of a training step grows: default boxes, classes, ground truths, image size,
batch, workers.

A small SSD (`ssd192_small_shapes`) on one core; each row changes one number of the base and gives
the time over the base's, in turns. Encoding of the ground truth is a part of the input pipeline
and has rows of its own. Workers are processes of one core each, on Keras' JAX backend.
"""

import contextlib
import functools
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from images import generated_boxes
from pairs import Side, num_cores, ratios, repeated, row, take_turns

BASE = {"size": 192, "ratios": 1, "classes": 5, "truths": 5, "batch": 8}
# Aspect ratios beside 1, each with its reciprocal: 4, 6 and 10 default boxes a place.
RATIOS = {1: (2.0,), 2: (2.0, 3.0), 4: (1.5, 2.0, 3.0, 4.0)}
STEPS = {
    "ratios": (2, 4), "classes": (20, 80, 320), "truths": (20, 80), "size": (96, 384),
    "batch": (2, 32),
}  # fmt: skip
ENCODINGS = {"ratios": (2, 4), "truths": (20, 80, 320), "size": (96, 384)}
WORKERS = {"one": (1, 8), "two": (2, 16), "two, joint batch of one": (2, 8)}
WHAT = {
    "ratios": "default boxes", "classes": "classes", "truths": "ground truths an image",
    "size": "side of the image", "batch": "images a step",
}  # fmt: skip


def build(size, ratios, classes):
    """The small SSD, compiled."""
    import keras

    from ssd_keras.presets import from_preset

    keras.utils.set_random_seed(0)
    model = from_preset(
        "ssd192_small_shapes",
        [f"class {number}" for number in range(classes)],
        image_size=(size, size),
        aspect_ratios=(RATIOS[ratios],) * 4,
    )
    model.compile(jit_compile=keras.backend.backend() == "jax")
    return model


def batch_of(model, truths, batch, seed=0):
    """Images and targets."""
    import tensorflow as tf

    encoder = tf.function(model.target_encoder(), reduce_retracing=True)
    classes = len(model.class_names)
    encoded = [
        encoder(boxes, labels % classes) for boxes, labels in generated_boxes(batch, truths, seed)
    ]
    shape = (batch, *model.image_size, 3)
    images = np.random.default_rng(seed).integers(0, 256, shape, "uint8")
    return images, {name: np.stack([one[name] for one in encoded]) for name in encoded[0]}


class SsdKeras:
    """Steps and encodings of any setting, in one process of one core."""

    def __init__(self):
        # As many as a recipe of all rows has: a model is built once for all of its rounds.
        self.model = functools.cache(build)
        self.batch = functools.cache(self._batch)
        self.encoder = functools.cache(self._encoder)

    def step(self, size, ratios, classes, truths, batch):
        model = self.model(size, ratios, classes)
        images, targets = self.batch(size, ratios, classes, truths, batch)
        return repeated(lambda: model.train_on_batch(images, targets))

    def encode(self, size, ratios, classes, truths, batch):
        encode = self.encoder(size, ratios, classes)
        ((boxes, labels),) = generated_boxes(1, truths)
        return repeated(lambda: encode(boxes, labels % classes)["box_deltas"].numpy())

    def count(self, size, ratios, classes):
        return {"default_boxes": len(self.model(size, ratios, classes).default_box_array)}

    def _batch(self, size, ratios, classes, truths, batch):
        return batch_of(self.model(size, ratios, classes), truths, batch)

    def _encoder(self, size, ratios, classes):
        import tensorflow as tf

        return tf.function(self.model(size, ratios, classes).target_encoder())


class Worker:
    """One of the processes that share the steps of the base, on a core of its own."""

    def __init__(self, index, workers, batch, address):
        if hasattr(os, "sched_setaffinity"):
            allowed = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {allowed[index % len(allowed)]})
        os.environ["KERAS_BACKEND"] = "jax"
        from ssd_keras.engine.distributed.devices import Devices

        devices = Devices(1, address if workers > 1 else "", workers, index)
        stack = contextlib.ExitStack()  # until the process ends
        stack.enter_context(devices.joined(batch, {}))
        self.stack, self.workers = stack, workers
        self.model = build(BASE["size"], BASE["ratios"], BASE["classes"])
        self.data = batch_of(self.model, BASE["truths"], batch // workers, index)

    def step(self, steps):
        def run():
            for _ in range(steps):
                self.model.train_on_batch(*self.data)

        run()  # the first call compiles
        from pairs import timed

        return {**timed(run)[0], "calls": steps}

    def leave(self):
        self.stack.close()
        return {}

    def gradient_bytes(self):
        return {"bytes": 4 * sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)}


SIDES = {"ssd_keras": SsdKeras, "worker": Worker}


def benchmark(tiny):
    rows, seconds, shares = [], {}, {}
    with Side("scaling", "ssd_keras", cores=1) as side:
        for kind, grid in (("step", STEPS), ("encode", ENCODINGS)):
            asks = {"base": functools.partial(side.ask, kind, **BASE)}
            changed = {"base": BASE}
            for name, values in grid.items():
                for value in values[:1] if tiny else values:
                    key = f"{name} {value}"
                    changed[key] = {**BASE, name: value}
                    asks[key] = functools.partial(side.ask, kind, **changed[key])
            seconds[kind], shares[kind] = take_turns(asks, 2 if tiny else 7, clock="core_seconds")
            counts = {key: sizes_of(side, setting) for key, setting in changed.items()}
            what = "step" if kind == "step" else "encoding of an image"
            rows += growth(what, counts, seconds[kind])
    measured, gradient_bytes = measure_workers(2 if tiny else 5, 1 if tiny else 10)
    one = measured["one"]
    for name, (workers, batch) in WORKERS.items():
        if name != "one":
            text = f"step, {workers} workers of one core, {batch} images together: time"
            rows.append(row(text, "1 worker, 8 images", ratios(measured[name], one), "report"))
    return {
        "rows": rows,
        "seconds": {**seconds, "workers": measured},
        "gradient_bytes": gradient_bytes,
        "cores": num_cores(),
        "others_share": shares,
    }


def sizes_of(side, setting):
    """The numbers of a setting as a reader knows them: default boxes instead of ratios."""
    model = {name: setting[name] for name in ("size", "ratios", "classes")}
    return {**setting, "ratios": side.ask("count", **model)["default_boxes"]}


def growth(what, counts, seconds):
    """A row for each setting: its time over the base's, and both numbers in words."""
    rows = []
    for key in seconds:
        if key == "base":
            continue
        name = key.split()[0]
        rows.append(
            row(
                f"{what}, {counts[key][name]} {WHAT[name]}"
                + f" ({counts[key]['ratios']} default boxes)" * (name == "size")
                + ": time",
                f"{counts['base'][name]}",
                ratios(seconds[key], seconds["base"]),
                "report",
            )
        )
    return rows


def measure_workers(rounds, steps):
    """Seconds a step by the name of the team, and the bytes that each step's gradients have."""
    with contextlib.ExitStack() as stack:
        teams = {}
        for name, (workers, batch) in WORKERS.items():
            address = f"127.0.0.1:{free_port()}"
            teams[name] = [
                stack.enter_context(
                    Side("scaling", "worker", None, index=index, workers=workers, batch=batch,
                         address=address)
                )
                for index in range(workers)
            ]  # fmt: skip
        asks = {
            name: functools.partial(ask_all, team, "step", steps=steps)
            for name, team in teams.items()
        }
        seconds, _ = take_turns(asks, rounds)
        gradient_bytes = teams["one"][0].ask("gradient_bytes").get("bytes")
        for team in teams.values():
            ask_all(team, "leave")
    return seconds, gradient_bytes


def ask_all(sides, do, **options):
    """Asks all at once, for each waits for the others; the slowest tells the time."""
    with ThreadPoolExecutor(len(sides)) as pool:
        answers = list(pool.map(lambda side: side.ask(do, **options), sides))
    return max(answers, key=lambda answer: answer.get("seconds", 0.0))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
