"""SSD512-VGG16 on VOC2007 + VOC2012 trainval with zoom-out.

Paper: arXiv 1512.02325, section 3.6 and table 6.

    ssd-keras train --recipe training/recipes/ssd512_voc0712.py \
        --train-data voc:VOCdevkit/VOC2007@trainval voc:VOCdevkit/VOC2012@trainval \
        --validation-data voc:VOCdevkit/VOC2007@test --output runs/ssd512_voc0712

Reported: mAP 79.8 (VOC07 test, 11 points); 76.8 without zoom-out. Not measured yet: it needs
a GPU.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssd512_vgg16_voc",
    backbone_weights="imagenet",
    steps=120_000,
    decay_steps=(80 / 120, 100 / 120),
    color_space="hsv",
    random_resize=True,
    validate_every=10,
)
