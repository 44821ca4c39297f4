"""SSDLite on MobileNetV2 for the blood cells of BCCD: a small data set, trained on a CPU.

Images of 640x480 keep their aspect ratio in an input of 384x288. The four feature maps start at
stride 8. The square default boxes have about the sizes of platelets, red and white cells in the
training images (medians 24, 62 and 114 pixels at this input).

    ssd-keras import object-detection-api mobilenet_v2_1.0_224_quant.tflite \
        --output mobilenet_v2_folded.weights.h5
    ssd-keras train --recipe training/recipes/blood_cells.py \
        --set backbone_weights=mobilenet_v2_folded.weights.h5 \
        --train-data voc:bccd@train --validation-data voc:bccd@val --output runs/blood_cells

For random weights: ``--set backbone_weights= --set model_options.batch_norm=true``.
Results and hardware: training/results/blood_cells.json.
"""

from ssd_keras.engine.recipes import TrainRecipe

RECIPE = TrainRecipe(
    preset="ssdlite320_mobilenet_v2_coco",
    model_options={
        "image_size": (288, 384),
        "feature_layers": ("block_6_expand_relu", "block_13_expand_relu", "out_relu"),
        "extra_layers": ((128, 256),),
        "batch_norm": False,
        "sizes": (24, 60, 115, 190, 260),
        "aspect_ratios": ((2.0,),) * 4,
        "post_process": {
            "score_threshold": 0.01,
            "iou_threshold": 0.45,
            "max_candidates": 400,
            "max_detections": 200,
            "clip_boxes": True,
            "candidates_per_class": True,
        },
    },
    backbone_weights="imagenet",
    epochs=60,
    batch_size=16,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=1e-4,
    gradient_norm=10.0,
    schedule="cosine",
    warmup_steps=50,
    min_negatives=3,
    zoom_out_max=2.0,
    flip_vertical=True,
    validate_every=5,
)
