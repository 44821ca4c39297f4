"""Untrained models with detections, and images, for tests of exports."""

import functools
import io

import keras
import numpy as np
from PIL import Image

from ssd_keras import from_preset
from ssd_keras.core.origin import DataOrigin, Origin
from ssd_keras.data.images import decode_image, resize_image
from ssd_keras.data.sources import load_data

LOGIT_SPREAD, DELTA_SPREAD = 2.5, 1.0
ORIGIN = Origin(
    "lively",
    data=DataOrigin(("voc:Zellen µ@train",), 3, 7, "CC BY 4.0"),
    made_with="ssd_keras 1.2.3",
    parent=Origin("published", "https://example.org/a.pth", "BSD-3-Clause"),
)


@functools.cache
def images(count: int = 4) -> list[np.ndarray]:
    """Returns generated images of different sizes, uint8 [H, W, 3]; shared: copy to change."""
    data = load_data([f"synthetic:shapes@test[:{count}]"])
    return [decode_image(example.read()).numpy() for example in data.examples]


def encoded(image: np.ndarray, file_format: str = "PNG", **options) -> bytes:
    """Returns the bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, file_format, **options)
    return file.getvalue()


def lively_model(
    preset: str = "ssd192_small_shapes", class_names=None, seed: int = 0, is_deep=False, **options
):
    """Returns a preset's model with random heads, scaled so that scores and boxes vary as in a
    trained model; an untrained one has nearly equal scores.

    `is_deep` sets the batch norm too: untrained, the last of many layers give zeros.
    """
    keras.utils.set_random_seed(seed)
    model = from_preset(preset, class_names, **options)
    model.origin = ORIGIN
    if is_deep:
        examples = np.stack([resize_image(x, model.image_size).numpy() for x in images()])
        _normalize(model, examples)
    else:
        noise = np.random.default_rng(seed).integers(0, 256, (2, *model.image_size, 3))
        examples = noise.astype("float32")
    heads = (
        (model.head.class_layers(model), LOGIT_SPREAD),
        (model.head.box_layers(model), DELTA_SPREAD),
    )
    for layers, spread in heads:
        probe = keras.Model(model.inputs, [layer.output for layer in layers])
        outputs = probe([examples], training=False)
        for layer, values in zip(layers, map(np.asarray, outputs), strict=True):
            weights = layer.get_weights()
            layer.set_weights([weights[0] * (spread / values.std()), *weights[1:]])
    return model


def _normalize(model, images):
    """Sets the batch norm to the statistics of these images."""
    layers = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    if layers:
        model(images, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
