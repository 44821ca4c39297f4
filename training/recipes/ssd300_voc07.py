"""SSD300-VGG16 on VOC2007 trainval, as in the paper's first table.

Paper: arXiv 1512.02325, table 1. 40k steps at 1e-3, 10k at 1e-4, 10k at 1e-5, no zoom-out.

    ssd-keras train --recipe training/recipes/ssd300_voc07.py \
        --train-data voc:VOCdevkit/VOC2007@trainval \
        --validation-data voc:VOCdevkit/VOC2007@test --output runs/ssd300_voc07

Reported: mAP 68.0 (VOC07 test, 11 points; 74.3 with VOC2012's images too). Not measured yet:
it needs a GPU.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssd300_vgg16_voc",
    backbone_weights="imagenet",
    steps=60_000,
    decay_steps=(40 / 60, 50 / 60),
    zoom_out=False,
    color_space="hsv",
    random_resize=True,
    validate_every=20,
)
