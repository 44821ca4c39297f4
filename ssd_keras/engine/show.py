"""Pictures of what training sees."""

import keras
import numpy as np
import tensorflow as tf

from ssd_keras.data.examples import DetectionData
from ssd_keras.data.pipeline import training_examples
from ssd_keras.engine.train import augmentation_of, initial_model
from ssd_keras.recipes import TrainRecipe
from ssd_keras.visualize import contact_sheet, draw_training_example


def training_sheet(
    recipe: TrainRecipe, data: DetectionData, count: int = 12, seed: int = 0
) -> np.ndarray:
    """Augmented pictures with their boxes and the default boxes matched to them.

    Args:
        recipe: whose model and augmentation are used.
        data: the data set.
        count: number of pictures. Default 12.
        seed: which ones. Default 0.

    Returns:
        one picture, uint8 [H, W, 3].
    """
    keras.config.set_dtype_policy("float32")
    model = initial_model(recipe.replace(trunk_weights=""), data.class_names)
    encoder = model.target_encoder(
        threshold=recipe.match_threshold, use_boundary_boxes=recipe.use_boundary_boxes
    )
    examples = training_examples(
        data,
        model.image_size,
        augmentation=augmentation_of(recipe),
        use_difficult=recipe.use_difficult,
        seed=seed,
    )
    drawings = []
    for example in examples.take(count):
        _, is_matched = encoder.match(example["boxes"], example["labels"])
        arrays = {name: value.numpy() for name, value in example.items()}
        drawings.append(
            draw_training_example(
                arrays["image"],
                arrays["boxes"],
                arrays["labels"],
                model.default_boxes,
                tf.convert_to_tensor(is_matched).numpy(),
                data.class_names,
            )
        )
    columns = min(4, count)
    return contact_sheet(drawings, columns=columns, cell_size=model.image_size)
