"""The small SSD on generated shapes; `make demo` trains it.

    ssd-keras train --recipe training/recipes/shapes.py --train-data synthetic:shapes@train \
        --validation-data synthetic:shapes@val --output runs/shapes
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssd192_small_shapes",
    epochs=24,
    batch_size=16,
    optimizer="adamw",
    learning_rate=3e-3,
    weight_decay=1e-4,
    gradient_norm=10.0,
    schedule="cosine",
    warmup_steps=50,
    min_negatives=3,
    zoom_out=False,
    validate_every=6,
)
