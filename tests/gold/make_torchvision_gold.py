"""Computes torchvision's numbers for the scene and stores them beside this file.

    pip install torch==2.13.0 torchvision==0.28.0 numpy
    python tests/gold/make_torchvision_gold.py

The tests read the stored numbers and need neither torch nor torchvision. The numbers are relative
yxyx boxes, (y, x, h, w) deltas and 0-based labels without background. The script refuses a scene on
which torchvision's rules and the paper's would differ, and compares every number with the oracle
before it stores them.
"""

import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "helpers")]

import oracle  # noqa: E402
from gold import scene  # noqa: E402

XYXY_TO_YXYX = [1, 0, 3, 2]  # its own inverse; turns (x, y, w, h) into (y, x, h, w) as well


def import_torchvision():
    """Imports torchvision, without compiled operators that do not fit this torch."""
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl("nms", plain_nms, "CPU")
        import torchvision
        import torchvision.extension

        torchvision.extension._has_ops = lambda: True
        torchvision.plain_library = library  # its operators live as long as it does
    return torchvision


def plain_nms(boxes, scores, iou_threshold):
    """Replaces the compiled operator: float32, as in torchvision's CPU kernel."""
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    dropped = torch.zeros(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if not dropped[i]:
            sides = torch.minimum(boxes[i, 2:], boxes[:, 2:]) - torch.maximum(
                boxes[i, :2], boxes[:, :2]
            )
            shared = sides.clamp(min=0).prod(dim=1)
            exceeds = shared / (areas[i] + areas - shared) > iou_threshold
            dropped[i + 1 :] |= exceeds[i + 1 :]
    return order[~dropped]


def build(name):
    """A torchvision model in training mode, 21 logits, no weights downloaded."""
    builder = getattr(import_torchvision().models.detection, name)
    return builder(weights=None, weights_backbone=None, num_classes=1 + scene.NUM_CLASSES)


def anchors_of(model):
    """The default boxes of the model's feature maps, float32 [N, 4] xyxy pixels."""
    from torchvision.models.detection.image_list import ImageList

    height, width = model.transform.fixed_size[::-1]
    images = torch.zeros(1, 3, height, width)
    with torch.no_grad():
        features = list(model.eval().backbone(images).values())
    return model.anchor_generator(ImageList(images, [(height, width)]), features)[0]


def targets_in_pixels(image_size):
    """The scene in torchvision's form: xyxy pixels, labels from 1."""
    return [
        {
            "boxes": torch.tensor(boxes[:, XYXY_TO_YXYX] * np.float32(image_size)),
            "labels": torch.tensor(labels.astype(np.int64) + 1),
        }
        for boxes, labels in scene.scene()
    ]


def match(model, targets, anchors):
    """torchvision's matched index of every image, [B, N]; checked for forced conflicts."""
    from torchvision.ops import boxes as box_ops

    matched = []
    for target in targets:
        iou = box_ops.box_iou(target["boxes"], anchors)
        forced = iou.argmax(dim=1)
        if len(set(forced.tolist())) < len(forced):
            raise ValueError(
                "two ground truths of the scene have the same best default box: "
                f"{forced.tolist()}, expected different ones, where torchvision's rule equals the "
                "paper's; move a box of scene.py"
            )
        best, second = iou.topk(2, dim=1).values.T
        if (best - second).min() < 1e-4:
            raise ValueError(
                f"a ground truth has two equally good default boxes: {best} and {second}, expected "
                "IoUs at least 1e-4 apart, without ties; move a box of scene.py"
            )
        matched.append(model.proposal_matcher(iou))
    return torch.stack(matched)


def losses(model, targets, anchors, matched, deltas, logits):
    """torchvision's two losses and the non-zero rows of their gradients."""
    bbox_regression = torch.tensor(deltas[..., XYXY_TO_YXYX], requires_grad=True)
    cls_logits = torch.tensor(logits, requires_grad=True)
    head_outputs = {"bbox_regression": bbox_regression, "cls_logits": cls_logits}
    result = model.compute_loss(targets, head_outputs, [anchors] * len(targets), list(matched))
    (box_gradient,) = torch.autograd.grad(result["bbox_regression"], bbox_regression)
    (class_gradient,) = torch.autograd.grad(result["classification"], cls_logits)
    stored = {
        "box_loss": result["bbox_regression"].detach().numpy(),
        "class_loss": result["classification"].detach().numpy(),
    }
    gradients = {
        "box": box_gradient.numpy()[..., XYXY_TO_YXYX],
        "class": class_gradient.numpy(),
    }
    for name, gradient in gradients.items():
        rows = np.argwhere(np.abs(gradient).max(axis=-1) > 0)
        stored[f"{name}_gradient_rows"] = rows.astype(np.int32)
        stored[f"{name}_gradient"] = gradient[tuple(rows.T)]
        stored[f"{name}_gradient_norm"] = np.linalg.norm(gradient.astype(np.float64))
    return stored


def detections(model, anchors, deltas, logits, image_size):
    """torchvision's detections of all images of the scene in a row, and their numbers."""
    head_outputs = {
        "bbox_regression": torch.tensor(deltas[..., XYXY_TO_YXYX]),
        "cls_logits": torch.tensor(logits),
    }
    images = model.postprocess_detections(
        head_outputs, [anchors] * len(deltas), [(image_size, image_size)] * len(deltas)
    )
    boxes = [image["boxes"].numpy()[:, XYXY_TO_YXYX] / image_size for image in images]
    return {
        "detection_boxes": np.concatenate(boxes).astype(np.float32),
        "detection_scores": np.concatenate([image["scores"].numpy() for image in images]),
        "detection_labels": np.concatenate(
            [image["labels"].numpy() - 1 for image in images]
        ).astype(np.int32),
        "num_detections": np.array([len(found) for found in boxes], np.int32),
    }


def check_detections(stored, deltas, logits, default_boxes, variances, options):
    """Compares with the oracle, which works in float64 without torch."""
    start = 0
    images = oracle.detections(
        deltas, logits, default_boxes, variances, clip_boxes="before", **options
    )
    for found, count in zip(images, stored["num_detections"], strict=True):
        rows = slice(start, start + count)
        start += count
        boxes, scores, labels = map(np.array, zip(*found, strict=True))
        np.testing.assert_array_equal(stored["detection_labels"][rows], labels)
        np.testing.assert_allclose(stored["detection_scores"][rows], scores, atol=1e-6)
        np.testing.assert_allclose(stored["detection_boxes"][rows], boxes, atol=1e-5)
    print("  detections", stored["num_detections"], "of", len(default_boxes), "equal the oracle's")


def check_losses(stored, matched, default_boxes, deltas, logits, variances):
    """Compares matches and losses with the oracle."""
    target_deltas, target_labels = np.zeros_like(deltas, np.float64), np.zeros_like(matched)
    for image, (boxes, labels) in enumerate(scene.scene()):
        expected = oracle.match(boxes, default_boxes)
        np.testing.assert_array_equal(matched[image], expected)
        rows = np.flatnonzero(expected >= 0)
        target_labels[image, rows] = labels[expected[rows]] + 1
        target_deltas[image, rows] = oracle.encode(
            boxes[expected[rows]], default_boxes[rows], variances
        )
    box_loss, class_loss = oracle.loss(deltas, logits, target_deltas, target_labels)
    np.testing.assert_allclose(stored["box_loss"], box_loss, rtol=1e-5)
    np.testing.assert_allclose(stored["class_loss"], class_loss, rtol=1e-5)
    print("  matches", (matched >= 0).sum(axis=1), "and losses", box_loss, class_loss, "equal")


def gold(name, settings, outputs, options):
    """The numbers of one model."""
    model = build(name)
    anchors = anchors_of(model)
    image_size = settings["image_size"][0]
    default_boxes = anchors.numpy()[:, XYXY_TO_YXYX] / np.float32(image_size)
    np.testing.assert_allclose(default_boxes, oracle.default_boxes(**settings), atol=1e-6)
    print(f"{name}: {len(default_boxes)} default boxes equal the oracle's")
    deltas, logits = scene.raw_outputs(settings, **outputs)
    variances = outputs["variances"]
    model.box_coder = type(model.box_coder)(tuple(1 / np.array(variances)[XYXY_TO_YXYX]))
    model.score_thresh = options["score_threshold"]
    model.nms_thresh = options["iou_threshold"]
    model.topk_candidates = options["max_candidates"]
    model.detections_per_img = options["max_detections"]
    targets = targets_in_pixels(image_size)
    matched = match(model, targets, anchors)
    stored = {"default_boxes": default_boxes, "matched_index": matched.numpy().astype(np.int8)}
    stored |= losses(model, targets, anchors, matched, deltas, logits)
    stored |= detections(model, anchors, deltas, logits, image_size)
    default_boxes = oracle.default_boxes(**settings)
    check_losses(stored, matched.numpy(), default_boxes, deltas, logits, variances)
    check_detections(stored, deltas, logits, default_boxes, variances, options)
    return stored


def main():
    torch.manual_seed(0)
    models = {
        "ssd300_vgg16": (
            scene.SSD300,
            scene.SSD300_OUTPUTS,
            scene.SSD300_POST_PROCESSING,
        ),
        "ssdlite320_mobilenet_v3_large": (
            scene.SSDLITE320,
            scene.SSDLITE320_OUTPUTS,
            scene.SSDLITE320_POST_PROCESSING,
        ),
    }
    for name, arguments in models.items():
        path = HERE / f"torchvision_{name}.npz"
        np.savez_compressed(path, **gold(name, *arguments))
        print(f"  {path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
