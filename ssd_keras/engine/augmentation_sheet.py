"""Contact sheets of augmented images."""

import numpy as np
import tensorflow as tf

from ssd_keras.core.precision import dtype_policy
from ssd_keras.core.random_state import kept_random_state
from ssd_keras.data.images import decode_image
from ssd_keras.data.pipeline import locate_broken_image, training_examples
from ssd_keras.data.records import DetectionData
from ssd_keras.data.stream import make_sampler
from ssd_keras.drawing.draw import draw_boxes, draw_training_example
from ssd_keras.drawing.sheet import contact_sheet
from ssd_keras.engine.recipes import TrainRecipe
from ssd_keras.engine.train import initial_model


def training_sheet(
    recipe: TrainRecipe, data: DetectionData, count: int = 12, seed: int = 0
) -> np.ndarray:
    """Returns a sheet of pairs: the original, and an augmented image with matched boxes."""
    with dtype_policy("float32"), kept_random_state():
        model = initial_model(
            recipe.replace({"model.backbone_weights": "random"}), data.class_names
        )
    encoder = model.target_encoder()
    factors = recipe.data.repeat_factors(data)
    index_at = make_sampler(len(data), seed, factors)
    examples = training_examples(
        data,
        model.image_size,
        augmentation=recipe.augmentation,
        use_difficult=recipe.data.use_difficult,
        seed=seed,
        repeat_factors=factors,
    )
    drawings, captions = [], []
    none = tf.zeros([len(model.default_box_array)], tf.int32)
    with locate_broken_image(data):
        for position, example in enumerate(examples.take(count)):
            index = int(index_at(position))
            drawings.append(_draw_original(data, index))
            targets = encoder(example["boxes"], example["labels"])
            # An assigner that needs predictions has matched nothing yet.
            is_matched = targets.get("class_logits", none) > 0
            arrays = {name: value.numpy() for name, value in example.items()}
            drawings.append(
                draw_training_example(
                    arrays["image"],
                    arrays["boxes"],
                    arrays["labels"],
                    model.default_box_array,
                    is_matched.numpy(),
                    data.class_names,
                )
            )
            matched = f"in training: {is_matched.numpy().sum()} matched"
            captions += [str(data.examples[index].image_id), matched]
    columns = min(4, 2 * count)
    return contact_sheet(drawings, columns=columns, cell_size=model.image_size, captions=captions)


def _draw_original(data: DetectionData, index: int) -> np.ndarray:
    """An image with its boxes, before augmentation."""
    example = data.examples[index]
    image = decode_image(example.read(), example.orientation).numpy()
    return draw_boxes(image, example.relative_boxes(), example.labels, class_names=data.class_names)
