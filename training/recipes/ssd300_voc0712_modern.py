"""SSD300-VGG16 on VOC2007 + VOC2012 with a modern schedule: warm-up, cosine, bfloat16.

    ssd-keras train --recipe training/recipes/ssd300_voc0712_modern.py \
        --train-data voc:VOCdevkit/VOC2007@trainval voc:VOCdevkit/VOC2012@trainval \
        --validation-data voc:VOCdevkit/VOC2007@test --output runs/ssd300_voc0712_modern

Expected: about the paper's 77.2. Not measured yet: it needs a GPU.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssd300_vgg16_voc",
    backbone_weights="imagenet",
    steps=60_000,
    learning_rate=2e-3,
    gradient_norm=10.0,
    schedule="cosine",
    warmup_steps=500,
    precision="mixed_bfloat16",
    validate_every=10,
)
