"""Computes outputs of torchvision's models with generated weights and stores some of them here.

    pip install torch==2.13.0 torchvision==0.28.0 numpy
    python tests/gold/make_import_gold.py

`torch_weights.py` makes the weights from their names, so that only names, shapes and outputs are
stored. The tests read them and need neither torch nor torchvision.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "helpers")]

from gold import torch_weights, torchvision_models  # noqa: E402

ROWS = 100
RESNET_SIZE = (24, 40)
DETECTORS = {"ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320}
CLASSIFIERS = ("resnet18", "resnet50")


def detector_gold(name, size):
    """Raw outputs of some default boxes, norms over all, and the detections of one image."""
    model = torchvision_models.detector(name)
    shapes = torchvision_models.shapes_of(model)
    torchvision_models.with_weights(model, torch_weights.random_state(shapes))
    images = torch_weights.image((size, size))[None]
    with torch.no_grad():
        deltas, logits = (x[0].numpy() for x in torchvision_models.raw_outputs(model, images))
    boxes, scores, labels = torchvision_models.detections(model, images)[0]
    # Finest map to coarsest, the last box included.
    rows = np.unique(np.geomspace(1, len(deltas), ROWS).astype(int))
    rows = len(deltas) - rows[::-1]
    print(f"{name}: {len(scores)} detections, scores {scores[0]:.3f} to {scores[-1]:.3f}, deltas "
          f"{deltas.std():.2f}, logits {logits.std():.2f}")  # fmt: skip
    return {
        "shapes": json.dumps(shapes),
        "rows": rows.astype(np.int32),
        "box_deltas": deltas[rows],
        "class_logits": logits[rows],
        "box_deltas_norm": np.linalg.norm(deltas.astype(np.float64), axis=0),
        "class_logits_norm": np.linalg.norm(logits.astype(np.float64), axis=0),
        "detection_boxes": boxes,
        "detection_scores": scores,
        "detection_labels": labels,
    }


def classifier_gold(name):
    """The feature map of the third stage at stride 8."""
    model = torchvision_models.classifier(name)
    shapes = torchvision_models.shapes_of(model)
    torchvision_models.with_weights(model, torch_weights.random_state(shapes))
    images = torch_weights.normalized(torch_weights.image(RESNET_SIZE)[None])
    features = torchvision_models.backbone_features(model, images)
    print(f"{name}: features {features.shape}, {features.std():.2f}")
    return {"shapes": json.dumps(shapes), "features": features}


def main():
    gold = {name: detector_gold(name, size) for name, size in DETECTORS.items()}
    gold |= {name: classifier_gold(name) for name in CLASSIFIERS}
    for name, arrays in gold.items():
        path = HERE / f"import_{name}.npz"
        np.savez_compressed(path, **arrays)
        print(f"  {path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
