"""How the time of a training step grows with one number at a time; a small SSD, one core."""

from functools import cache, partial

from pairs import Side, ratios, repeated, row, take_turns
from peers import training_batch

BASE = {"size": 192, "aspect_ratios": (2,), "classes": 5, "truths": 5, "batch": 8}
CHANGES = {  # by what changes and the base's number
    ("4590 default boxes", "3060"): {"aspect_ratios": (2, 3)},
    ("7650 default boxes", "3060"): {"aspect_ratios": (1.5, 2, 3, 4)},
    ("20 classes", "5"): {"classes": 20},
    ("80 classes", "5"): {"classes": 80},
    ("320 classes", "5"): {"classes": 320},
    ("20 ground truths an image", "5"): {"truths": 20},
    ("80 ground truths an image", "5"): {"truths": 80},
    ("96 side of the image (772 default boxes)", "192"): {"size": 96},
    ("384 side of the image (12240 default boxes)", "192"): {"size": 384},
    ("2 images a step", "8"): {"batch": 2},
    ("32 images a step", "8"): {"batch": 32},
}


class SsdKeras:
    def step(self, **setting):
        return repeated(training_step(**setting))


@cache
def training_step(size, aspect_ratios, classes, truths, batch):
    import keras

    from ssd_keras.presets import from_preset

    keras.utils.set_random_seed(0)
    names = [f"class {number}" for number in range(classes)]
    options = {"image_size": (size, size), "aspect_ratios": (aspect_ratios,) * 4}
    model = from_preset("ssd192_small_shapes", names, **options)
    model.compile()
    return partial(model.train_on_batch, *training_batch(model, batch, truths))


SIDES = {"ssd_keras": SsdKeras}


def benchmark(tiny):
    settings = {"base": BASE} | {what: BASE | change for (what, _), change in CHANGES.items()}
    with Side("scaling", "ssd_keras", cores=1) as side:
        asks = {what: partial(side.step, **one) for what, one in settings.items()}
        seconds, others = take_turns(asks, 2 if tiny else 7, clock="core_seconds")
    over_base = {what: ratios(values, seconds["base"]) for what, values in seconds.items()}
    rows = [row(f"step, {what}: time", number, over_base[what]) for what, number in CHANGES]
    return {"rows": rows, "seconds": {"step": seconds}, "others_share": {"step": others}}
