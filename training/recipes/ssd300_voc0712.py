"""SSD300-VGG16 on VOC2007 + VOC2012 trainval with zoom-out: the paper's best SSD300.

Paper: arXiv 1512.02325, section 3.6 and table 6. 80k steps at 1e-3, 20k at 1e-4, 20k at 1e-5.

    ssd-keras train --recipe training/recipes/ssd300_voc0712.py \
        --train-data voc:VOCdevkit/VOC2007@trainval voc:VOCdevkit/VOC2012@trainval \
        --validation-data voc:VOCdevkit/VOC2007@test --output runs/ssd300_voc0712

Reported: mAP 77.2 (VOC07 test, 11 points); 74.3 with ``--set zoom_out=false --set steps=60000``.
Not measured yet: it needs a GPU.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssd300_vgg16_voc",
    backbone_weights="imagenet",
    steps=120_000,
    decay_steps=(80 / 120, 100 / 120),
    color_space="hsv",
    random_resize=True,
    validate_every=10,
)
