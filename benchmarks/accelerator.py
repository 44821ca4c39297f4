"""Training and inference on an accelerator, under JAX alone: TensorFlow need not be there.

    KERAS_BACKEND=jax python benchmarks/accelerator.py [--json FILE] [--tiny]

Images and targets are made up and lie in the accelerator's memory while it trains; inference
takes uint8 images from the host and gives detections back to it. The network computes in
bfloat16, loss and suppression in float32.
"""

import argparse
import datetime
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
from pairs import ratios, row, spread, table

from ssd_keras import from_preset
from ssd_keras.models.post_process_layer import with_post_process

# Preset, options, batch sizes of training; images a second that are wanted, or None.
TRAININGS = (
    ("ssd300_vgg16_coco", {}, (64, 128, 256), None),
    ("ssd300_resnet50_coco", {}, (64, 128, 256), 2 * 663),
)
INFERENCE = ("ssd300_vgg16_coco", {}, {1: 500, 8: 3000, 64: 4000})
SHARE_OF_PEAK, SHARE_OF_LOSS = 0.4, 0.05
STEPS, ROUNDS, PRODUCT_SIZE = 20, 5, 8192
TINY = ("ssd192_small_shapes", {"image_size": (64, 96), "width": 4})


def main(words=None):
    options = arguments(words)
    keras.config.set_dtype_policy("mixed_bfloat16")
    trainings = ((*TINY, (2,), None),) if options.tiny else TRAININGS
    inference = (*TINY, {1: None, 2: None}) if options.tiny else INFERENCE
    steps, rounds = (2, 2) if options.tiny else (STEPS, ROUNDS)
    peak = product_rate(256 if options.tiny else PRODUCT_SIZE, rounds)
    rows = [row("matrix product, bfloat16: TFLOP/s", "", spread(peak), "report")]
    for preset, model_options, batches, wanted in trainings:
        model = from_preset(preset, **model_options)
        flops = 3 * forward_flops(model)  # forward, gradients of the maps, gradients of the weights
        for batch in batches:
            images, targets = made_up_batch(model, batch)
            whole, bare = (
                step_seconds(model, images, targets, loss, steps, rounds)
                for loss in (None, {name: mean_square for name in targets})
            )
            what = f"training {preset}, batch {batch}: "
            rows += training_rows(what, wanted, batch, flops, whole, bare, peak)
            print(table(rows[-3:]), flush=True)
    preset, model_options, batches = inference
    model = from_preset(preset, **model_options)
    for batch, wanted in batches.items():
        speeds = inference_rate(model, batch, steps, rounds)
        what = f"{preset} with suppression, batch {batch}: images a second"
        sense = "at least" if wanted else "report"
        rows.append(row(what, "the clock", spread(speeds), sense, wanted))
    print(table(rows))
    if options.json:
        record = {
            "command": "KERAS_BACKEND=jax python benchmarks/accelerator.py",
            "date": datetime.date.today().isoformat(),
            "hardware": [device.device_kind for device in jax.devices()],
            "versions": {one.__name__: one.__version__ for one in (jax, keras, np)},
            "rows": rows,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")


def product_rate(size, rounds, products=20):
    """TFLOP/s of a chain of bfloat16 matrix products, one for each round."""
    factor = jax.random.normal(jax.random.key(0), (size, size), jnp.bfloat16) / size**0.5

    @jax.jit
    def chain(start):
        return jax.lax.fori_loop(0, products, lambda _, x: x @ factor, start)

    seconds = timed(lambda: chain(factor).block_until_ready(), rounds)
    return [2e-12 * products * size**3 / one for one in seconds]


def training_rows(what, wanted, batch, flops, whole, bare, peak):
    """Speed, share of the peak, and what loss and mining take, from seconds of a step."""
    speed = spread([batch / one for one in whole])
    share = ratios([1e-12 * flops * batch / one for one in whole], peak)
    loss_share = spread([1 - a / b for a, b in zip(bare, whole, strict=True)])
    return [
        row(what + "images a second", "", speed, "at least" if wanted else "report", wanted),
        row(what + "share", "matrix product", share, "at least", SHARE_OF_PEAK),
        row(what + "loss and mining", "the step", loss_share, "at most", SHARE_OF_LOSS),
    ]


def made_up_batch(model, batch, positives=30):
    """uint8 images, and targets with a few positive default boxes each, on the device."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch, *model.image_size, 3), np.uint8)
    num_boxes = len(model.default_box_array)
    classes = np.zeros((batch, num_boxes), np.int32)
    deltas = np.zeros((batch, num_boxes, 5), np.float32)
    for image in range(batch):
        chosen = generator.choice(num_boxes, positives, replace=False)
        classes[image, chosen] = generator.integers(1, 1 + len(model.class_names), positives)
        deltas[image, chosen, :4] = generator.normal(0, 1, (positives, 4))
        deltas[image, chosen, 4] = 1
    targets = {"box_deltas": jax.device_put(deltas), "class_logits": jax.device_put(classes)}
    return jax.device_put(images), targets


def mean_square(_, outputs):
    """A loss that costs nothing and lets every gradient flow."""
    return keras.ops.mean(keras.ops.square(outputs))


def step_seconds(model, images, targets, loss, steps, rounds):
    """Seconds a step of `model.fit`, one for each round of so many steps."""
    model.compile(loss=loss)

    class Clock(keras.callbacks.Callback):
        seconds = []

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append((time.perf_counter() - self.start) / steps)

    def batches():
        while True:
            yield images, targets

    clock = Clock()
    # The first epoch compiles.
    model.fit(batches(), steps_per_epoch=steps, epochs=1 + rounds, callbacks=[clock], verbose=0)
    return clock.seconds[1:]


def forward_flops(model):
    """Floating-point operations of one image's forward pass, as the compiler counts them."""
    images = jnp.zeros((1, *model.image_size, 3), jnp.uint8)
    lowered = jax.jit(model.stateless_call).lower(*state_of(model), images)
    return lowered.compile().cost_analysis()["flops"]


def state_of(model):
    """Values of the variables as `stateless_call` takes them, on the device."""
    groups = (model.trainable_variables, model.non_trainable_variables)
    return [[jax.device_put(variable.value) for variable in group] for group in groups]


def inference_rate(model, batch, calls, rounds):
    """Images a second from uint8 images of the host to detections there."""
    whole, state = with_post_process(model), state_of(model)
    detect = jax.jit(lambda state, images: whole.stateless_call(*state, images)[0])
    shape = (batch, *model.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def detect_all():
        for _ in range(calls):
            jax.device_get(detect(state, images))

    return [batch * calls / one for one in timed(detect_all, rounds)]


def timed(function, rounds):
    """Seconds of each of the calls after the first, which compiles."""
    seconds = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="file for every number")
    parser.add_argument("--tiny", action="store_true", help="a trial with numbers of no meaning")
    if keras.backend.backend() != "jax":
        parser.error("this runs under JAX; set KERAS_BACKEND=jax")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
