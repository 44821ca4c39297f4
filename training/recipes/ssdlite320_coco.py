"""SSDLite320 on MobileNetV2 (or MobileNetV3-Large) on COCO 2017: cosine schedule.

    ssd-keras train --recipe training/recipes/ssdlite320_coco.py \
        --train-data coco:annotations/instances_train2017.json@train2017 \
        --validation-data coco:annotations/instances_val2017.json@val2017 \
        --output runs/ssdlite320_coco

For MobileNetV3-Large: ``--set preset=ssdlite320_mobilenet_v3_large_coco --set backbone_weights=``.
Reported: AP 21.3 for both (MMDetection 3.3, 600 epochs; torchvision, 660 epochs). Not measured
yet: it needs a GPU.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssdlite320_mobilenet_v2_coco",
    backbone_weights="imagenet",
    epochs=600,
    batch_size=192,
    learning_rate=0.15,
    weight_decay=4e-5,
    schedule="cosine",
    warmup_steps=2000,
    zoom_out=False,
    validate_every=10,
)
