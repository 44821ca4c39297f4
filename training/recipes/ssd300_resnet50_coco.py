"""SSD300-ResNet50 on COCO 2017: 65 epochs, learning rate divided by 10 after epochs 43 and 54.

    ssd-keras train --recipe training/recipes/ssd300_resnet50_coco.py \
        --train-data coco:annotations/instances_train2017.json@train2017 \
        --validation-data coco:annotations/instances_val2017.json@val2017 \
        --output runs/ssd300_resnet50_coco

Reported: AP about 27 (NVIDIA DeepLearningExamples, SSD300 v1.1, COCO val).
Not measured yet: it needs a GPU.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssd300_resnet50_coco",
    backbone_weights="imagenet",
    epochs=65,
    learning_rate=2.6e-3,
    decay_steps=(43 / 65, 54 / 65),
    warmup_steps=300,
    precision="mixed_bfloat16",
    zoom_out=False,
    validate_every=5,
)
