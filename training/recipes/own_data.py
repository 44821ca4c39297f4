"""SSDLite on MobileNetV2 for a few hundred images: an hour on a CPU, minutes on a GPU.

    ssd-keras train --recipe training/recipes/own_data.py \
        --train-data voc:ROOT@train --validation-data voc:ROOT@val --output runs/mine

Keras downloads the ImageNet weights of the backbone; offline, pass
``--set backbone_weights=FILE.weights.h5``, or ``--set backbone_weights=`` for random weights.
The finest feature map has stride 8, for small objects. Set ``flip_vertical=true`` for images that
may be upside down, such as aerial images.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssdlite320_mobilenet_v2_coco",
    model_options={
        "feature_layers": ("block_6_expand_relu", "block_13_expand_relu", "out_relu"),
        "extra_layers": ((128, 256), (128, 256)),
        "batch_norm": False,
        "sizes": (25, 50, 100, 180, 260, 310),
        "aspect_ratios": ((2.0, 3.0),) * 5,
    },
    backbone_weights="imagenet",
    epochs=100,
    batch_size=16,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=1e-4,
    gradient_norm=10.0,
    schedule="cosine",
    warmup_steps=50,
    min_negatives=3,
    zoom_out_max=2.0,
    validate_every=5,
)
