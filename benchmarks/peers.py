"""What sides of several benchmarks share; heavy imports stay inside the side that needs them."""

import functools
import io
import os
import sys

import numpy as np

WIDTH, HEIGHT, NUM_CLASSES = 640, 480, 20
# How fast amplitude falls with frequency, and its spread in grey levels. What is left of the high
# frequencies is what a JPEG spends its bytes, and a decoder its time, on.
DETAIL = {"smooth": (2.0, 40.0), "detailed": (1.2, 50.0)}
SSD300, SSDLITE = "ssd300_vgg16", "ssdlite320_mobilenet_v3_large"  # torchvision's names
FORWARD_GFLOP = 62.8  # of one 300 x 300 image, SSD300 with VGG16, two a multiply-add
LOGIT_SPREAD = 2.5  # of class logits: about as many scores above the threshold as after training


def import_torchvision():
    """torchvision; where its compiled operators do not load, its NMS keeps every box."""
    try:
        import torchvision
    except RuntimeError:
        import torch

        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl("nms", lambda boxes, scores, _: scores.argsort(descending=True), "CPU")
        import torchvision

        torchvision.extension._has_ops = lambda: True
        torchvision.declared_operators = library  # they live as long as it does
    return torchvision


def torchvision_model(name):
    """A detector with random weights."""
    import torch

    torch.manual_seed(0)
    builder = getattr(import_torchvision().models.detection, name)
    return builder(weights=None, weights_backbone=None, num_classes=1 + NUM_CLASSES)


def share_weights(model, path, images):
    """Loads the weights of the file; the first side writes it, with logits as after training."""
    import torch

    if not os.path.exists(path):
        heads = model.head.classification_head.module_list
        with torch.no_grad():
            for head, feature in zip(heads, model.backbone(images).values(), strict=True):
                [*head.modules()][-1].weight.mul_(LOGIT_SPREAD / head(feature).std())
        torch.save(model.state_dict(), path)
    model.load_state_dict(torch.load(path))


def imported(weights):
    """Our model with weights of torchvision's."""
    from ssd_keras.core.class_names import VOC_CLASSES
    from ssd_keras.importers.pth import read_pth
    from ssd_keras.importers.torchvision import ssd_from_state_dict

    return ssd_from_state_dict(read_pth(weights), VOC_CLASSES)


def ssd300_default_boxes():
    """The preset's, without its model: 100 MB more would change how memory is allocated."""
    from ssd_keras.boxes.default_boxes import DefaultBoxes
    from ssd_keras.models.builders.vgg import SSD_SIZES

    ratios = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    spec = DefaultBoxes.paper(SSD_SIZES[300, "voc"], ratios, steps=(8, 16, 32, 64, 100, 300))
    return spec.boxes((300, 300), [(n, n) for n in (38, 19, 10, 5, 3, 1)])


def tensorflow_product(size, dtype="float32"):
    """A function that multiplies two square matrices."""
    import tensorflow as tf

    factors = tf.cast(tf.random.uniform([2, size, size]), dtype)
    multiply = tf.function(lambda: tf.matmul(factors[0], factors[1]))
    return lambda: multiply().numpy()


def training_batch(model, batch_size, num_objects):
    """Images and targets of one step."""
    import tensorflow as tf

    boxes, labels = generated_boxes(batch_size, num_objects)
    targets = tf.function(model.target_encoder())(boxes, labels % len(model.class_names))
    images = generated_squares(batch_size, *model.image_size)
    return images, {name: value.numpy() for name, value in targets.items()}


@functools.cache
def generated_jpegs(count, detail):
    """JPEGs of 640 x 480, 150 KB each where detailed, as COCO's, 25 KB where smooth, as BCCD's."""
    from PIL import Image

    generator = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    steepness, spread = DETAIL[detail]
    falling = np.maximum(frequency, 1 / WIDTH) ** -steepness
    encoded = []
    for _ in range(count):
        noise = np.fft.rfft2(generator.normal(size=(3, HEIGHT, WIDTH)))
        waves = np.fft.irfft2(noise * falling, s=(HEIGHT, WIDTH))
        waves = np.array([[1, 0.2, 0.1], [1, -0.1, 0.1], [1, 0, -0.2]]) @ waves.reshape(3, -1)
        pixels = 120 + spread * (waves / waves.std()).T.reshape(HEIGHT, WIDTH, 3)
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    return encoded


def generated_squares(count, height, width):
    """uint8 [count, height, width, 3]: squares of 16 pixels in random colours."""
    shape = (count, -(-height // 16), -(-width // 16), 3)
    small = np.random.default_rng(3).integers(0, 256, shape, "uint8")
    return small.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]


def generated_boxes(count, num_boxes):
    """Boxes [count, num_boxes, 4], relative yxyx, sides of 0.04 to 0.5, and labels."""
    generator = np.random.default_rng(0)
    sizes = np.exp(generator.uniform(np.log(0.04), np.log(0.5), (count, num_boxes, 2)))
    corners = generator.uniform(0, 1 - sizes)
    boxes = np.concatenate([corners, corners + sizes], axis=-1).astype("float32")
    return boxes, generator.integers(0, NUM_CLASSES, (count, num_boxes)).astype("int32")


def detection_data(images, truth, num_classes):
    """A data set of encoded images and their boxes (x, y, width, height in pixels) and labels."""
    from ssd_keras.data.records import DetectionData, Example

    examples = []
    for image, (boxes, labels) in zip(images, truth, strict=True):
        number, no, areas = 1 + len(examples), np.zeros(len(boxes), bool), boxes[:, 2] * boxes[:, 3]
        examples.append(Example(number, image, HEIGHT, WIDTH, boxes, labels, no, no, areas))
    return DetectionData(tuple(f"class {n}" for n in range(num_classes)), tuple(examples))
