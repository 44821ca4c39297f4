"""SSD300-VGG16 on COCO 2017 with zoom-out.

Paper: arXiv 1512.02325, section 3.6 and table 5. 280k steps at 1e-3, 80k at 1e-4, 40k at 1e-5.

    ssd-keras train --recipe training/recipes/ssd300_coco.py \
        --train-data coco:annotations/instances_train2017.json@train2017 \
        --validation-data coco:annotations/instances_val2017.json@val2017 \
        --output runs/ssd300_coco

Reported: AP 25.1 (test-dev). Not measured yet: it needs a GPU.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssd300_vgg16_coco",
    backbone_weights="imagenet",
    steps=400_000,
    decay_steps=(280 / 400, 360 / 400),
    color_space="hsv",
    random_resize=True,
    validate_every=5,
)
