"""torchvision's models with given weights; their numbers in this project's form. Needs torch."""

import numpy as np
import torch
from gold.make_torchvision_gold import XYXY_TO_YXYX, import_torchvision


def shapes_of(model):
    """Shapes of the floating point arrays of a model's state dict, by name."""
    state = model.state_dict().items()
    return {name: tuple(value.shape) for name, value in state if value.is_floating_point()}


def with_weights(model, arrays):
    """The model in inference mode with exactly these arrays."""
    counters = {
        name: value for name, value in model.state_dict().items() if not value.is_floating_point()
    }
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    model.load_state_dict(tensors | counters)
    return model.eval()


def detector(name, **options):
    """`ssd300_vgg16` or `ssdlite320_mobilenet_v3_large`, nothing downloaded."""
    builder = getattr(import_torchvision().models.detection, name)
    return builder(weights=None, weights_backbone=None, **options)


def classifier(name):
    """`resnet18`, `resnet50` or another classifier."""
    return getattr(import_torchvision().models, name)(weights=None)


def as_tensors(images):
    """uint8 images [B, H, W, 3] as torchvision takes them: a list of [3, H, W] in 0..1."""
    return [torch.tensor(image).permute(2, 0, 1) / 255 for image in images]


def raw_outputs(model, images):
    """Box deltas (y, x, h, w) and class logits as tensors, of images of the model's size."""
    batch, _ = model.transform(as_tensors(images))
    head_outputs = model.head(list(model.backbone(batch.tensors).values()))
    return head_outputs["bbox_regression"][..., XYXY_TO_YXYX], head_outputs["cls_logits"]


def detections(model, images):
    """Relative yxyx boxes, scores and labels from 0 of each image."""
    size = images.shape[1]
    with torch.no_grad():
        found = model(as_tensors(images))
    return [
        (
            (each["boxes"].numpy()[:, XYXY_TO_YXYX] / size).astype(np.float32),
            each["scores"].numpy(),
            (each["labels"].numpy() - 1).astype(np.int32),
        )
        for each in found
    ]


def backbone_features(model, images):
    """Features [B, H, W, C] after a ResNet's third stage at stride 1, of normalised images."""
    for module in model.layer3[0].modules():
        if getattr(module, "stride", None) == (2, 2):
            module.stride = (1, 1)
    with torch.no_grad():
        x = torch.tensor(images).permute(0, 3, 1, 2)
        x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
        x = model.layer3(model.layer2(model.layer1(x)))
    return x.permute(0, 2, 3, 1).numpy()
