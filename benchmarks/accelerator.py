"""Training and inference on an accelerator under JAX, without TensorFlow.

    KERAS_BACKEND=jax python benchmarks/accelerator.py [--json FILE] [--tiny]

Training data lie in the accelerator's memory; inference takes uint8 images from the host and
returns detections to it. The network computes in bfloat16, loss and NMS in float32.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import jax
import keras
import numpy as np
from pairs import ratios, row, spread, table, timed
from suite import record_of

from ssd_keras import from_preset
from ssd_keras.models.post_process import DetectionModel

# Preset, options, batch sizes of training; images a second that are wanted, or None.
TRAININGS = (
    ("ssd300_vgg16_coco", {}, (64, 128, 256), None),
    ("ssd300_resnet50_coco", {}, (64, 128, 256), 2 * 663),
)
INFERENCE = ("ssd300_vgg16_coco", {}, {1: 500, 8: 3000, 64: 4000})
TINY = ("ssd192_small_shapes", {"image_size": (64, 96), "width": 4})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="file for every number")
    parser.add_argument("--tiny", action="store_true", help="a trial with numbers of no meaning")
    options = parser.parse_args()
    if keras.backend.backend() != "jax":
        parser.error("this runs under JAX; set KERAS_BACKEND=jax")
    keras.config.set_dtype_policy("mixed_bfloat16")
    trainings = ((*TINY, (2,), None),) if options.tiny else TRAININGS
    preset, model_options, batches = (*TINY, {1: None, 2: None}) if options.tiny else INFERENCE
    steps, rounds, product_size = (2, 2, 256) if options.tiny else (20, 5, 8192)
    peak = product_rate(product_size, rounds)
    rows = [row("matrix product, bfloat16: TFLOP/s", "", spread(peak))]
    for training in trainings:
        rows += training_rows(*training, steps, rounds, peak)
        print(table(rows), flush=True)
    model = from_preset(preset, **model_options)
    for batch, wanted in batches.items():
        speeds = inference_rate(model, batch, steps, rounds)
        what = f"{preset} with suppression, batch {batch}: images a second"
        rows.append(row(what, "the clock", spread(speeds), at_least=wanted))
    print(table(rows))
    if options.json:
        kinds = [device.device_kind for device in jax.devices()]
        record = record_of("KERAS_BACKEND=jax python benchmarks/accelerator.py", kinds)
        options.json.write_text(json.dumps(record | {"rows": rows}, indent=1) + "\n")


def product_rate(size, rounds, products=20):
    """TFLOP/s of a chain of bfloat16 matrix products, one for each round."""
    factor = jax.random.normal(jax.random.key(0), (size, size), jax.numpy.bfloat16) / size**0.5
    chain = jax.jit(lambda x: jax.lax.fori_loop(0, products, lambda _, x: x @ factor, x))
    seconds = seconds_of(lambda: chain(factor).block_until_ready(), rounds)
    return [2e-12 * products * size**3 / one for one in seconds]


def training_rows(preset, model_options, batches, wanted, steps, rounds, peak):
    """Speed, share of the peak, and the share of loss and mining in a step."""
    model = from_preset(preset, **model_options)
    flops = 3 * forward_flops(model)  # forward, gradients of the maps, gradients of the weights
    rows = []
    for batch in batches:
        images, targets = generated_batch(model, batch)
        free = {name: lambda _, outputs: keras.ops.mean(outputs**2) for name in targets}
        whole = step_seconds(model, images, targets, None, steps, rounds)
        bare = step_seconds(model, images, targets, free, steps, rounds)
        speed = spread([batch / one for one in whole])
        share = ratios([1e-12 * flops * batch / one for one in whole], peak)
        loss_share = spread([1 - a / b for a, b in zip(bare, whole, strict=True)])
        what = f"training {preset}, batch {batch}: "
        rows += [
            row(what + "images a second", "", speed, at_least=wanted),
            row(what + "share", "matrix product", share, at_least=0.4),
            row(what + "loss and mining", "the step", loss_share, at_most=0.05),
        ]
    return rows


def generated_batch(model, batch, positives=30):
    """uint8 images, and targets with a few positive default boxes each, on the device."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch, *model.image_size, 3), np.uint8)
    num_boxes = len(model.default_box_array)
    classes = np.zeros((batch, num_boxes), np.int32)
    deltas = np.zeros((batch, num_boxes, 5), np.float32)
    chosen = generator.choice(num_boxes, positives, replace=False)
    classes[:, chosen] = generator.integers(1, 1 + len(model.class_names), (batch, positives))
    deltas[:, chosen, :4] = generator.normal(0, 1, (batch, positives, 4))
    deltas[:, chosen, 4] = 1
    return jax.device_put((images, {"box_deltas": deltas, "class_logits": classes}))


def step_seconds(model, images, targets, loss, steps, rounds):
    """Seconds a step of `model.fit`, one for each round of `steps`."""
    model.compile(loss=loss)
    ends = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    batches = (batch for batch in itertools.repeat((images, targets)))
    # The first epoch compiles.
    model.fit(batches, steps_per_epoch=steps, epochs=1 + rounds, callbacks=[clock], verbose=0)
    return np.diff(ends) / steps


def forward_flops(model):
    """Floating-point operations of one image's forward pass, as the compiler counts them."""
    images = jax.numpy.zeros((1, *model.image_size, 3), jax.numpy.uint8)
    lowered = jax.jit(model.stateless_call).lower(*state_of(model), images)
    return lowered.compile().cost_analysis()["flops"]


def state_of(model):
    """Values of the variables as `stateless_call` takes them, on the device."""
    groups = (model.trainable_variables, model.non_trainable_variables)
    return [[jax.device_put(variable.value) for variable in group] for group in groups]


def inference_rate(model, batch, calls, rounds):
    """Images a second from uint8 images of the host to detections there."""
    whole, state = DetectionModel(model), state_of(model)
    detect = jax.jit(lambda state, images: whole.stateless_call(*state, images)[0])
    images, _ = jax.device_get(generated_batch(model, batch))

    def run():
        return [jax.device_get(detect(state, images)) for _ in range(calls)]

    return [batch * calls / one for one in seconds_of(run, rounds)]


def seconds_of(function, rounds):
    """Seconds of each call after the first, which compiles."""
    return [timed(function)[0]["seconds"] for _ in range(1 + rounds)][1:]


if __name__ == "__main__":
    main()
