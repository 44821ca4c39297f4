"""SSD300-ResNet18 on COCO 2017: 65 epochs, rate falling at epochs 43 and 54.

    ssd-keras train --recipe training/recipes/ssd300_resnet18_coco.py \
        --train-data coco:annotations/instances_train2017.json@train2017 \
        --validation-data coco:annotations/instances_val2017.json@val2017 \
        --output runs/ssd300_resnet18_coco

Keras has no ImageNet weights of ResNet18: name a weights file with ``--set backbone_weights=PATH``,
or train from random weights as this recipe does.

Reported: no comparable published figure. Measured here: not yet, it wants a GPU.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssd300_resnet18_coco",
    epochs=65,
    learning_rate=2.6e-3,
    decay_steps=(43 / 65, 54 / 65),
    warmup_steps=300,
    precision="mixed_bfloat16",
    zoom_out=False,
    validate_every=5,
)
