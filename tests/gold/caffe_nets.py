"""Caffe's SSDs on VGG16 with weights from a seed: the file, its deploy text, and images.

Needs NumPy and protobuf alone, so that it runs with an old OpenCV. The layers are those of the
published deploy.prototxt files, not of the importer that they test.
"""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np

SCHEMA = Path(__file__).resolve().parents[2] / "ssd_keras" / "importers" / "caffe_schema.py"
VARIANCES = (0.1, 0.1, 0.2, 0.2)
LOGIT_SPREAD, DELTA_SPREAD = 1.0, 0.7


@dataclasses.dataclass(frozen=True)
class Net:
    """A published network and its PriorBox layers; every map has aspect ratio 2, some 3 too."""

    size: int
    num_classes: int  # with background
    sizes: tuple[float, ...]  # sides of the square boxes, and one more
    steps: tuple[int, ...]
    has_ratio_3: tuple[bool, ...]
    seed: int

    @property
    def boxes_per_cell(self):
        return [6 if more else 4 for more in self.has_ratio_3]

    @property
    def sources(self):
        extras = [f"conv{number}_2" for number in range(6, 4 + len(self.steps))]
        return ["conv4_3_norm", "fc7", *extras]

    def truncated(self):
        """The same with sizes in whole pixels, as Caffe reads them from the text."""
        return dataclasses.replace(self, sizes=tuple(int(size) for size in self.sizes))


STEPS_300, RATIOS_300 = (8, 16, 32, 64, 100, 300), (False, True, True, True, False, False)
STEPS_512, RATIOS_512 = (8, 16, 32, 64, 128, 256, 512), (False, *[True] * 4, False, False)
NETS = {
    "ssd300_vgg16_voc": Net(
        300, 21, (30, 60, 111, 162, 213, 264, 315), STEPS_300, RATIOS_300, 1
    ),
    "ssd300_vgg16_coco": Net(
        300, 81, (21, 45, 99, 153, 207, 261, 315), STEPS_300, RATIOS_300, 2
    ),
    "ssd512_vgg16_voc": Net(
        512, 21, (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6), STEPS_512, RATIOS_512, 3
    ),
    "ssd512_vgg16_coco": Net(
        512, 81, (20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72), STEPS_512,
        RATIOS_512, 4,
    ),
}  # fmt: skip


# name, inputs, outputs, kernel, other fields of the text


def backbone_layers():
    """The 15 convolutions of the fc-reduced VGG16."""
    inputs = 3
    for block, (filters, count) in enumerate(
        ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1
    ):
        for index in range(1, count + 1):
            yield f"conv{block}_{index}", inputs, filters, 3, "pad: 1"
            inputs = filters
    yield "fc6", 512, 1024, 3, "pad: 6 dilation: 6"
    yield "fc7", 1024, 1024, 1, ""


def extra_layers(net):
    inputs = 1024
    for number in range(6, 4 + len(net.steps)):
        bottleneck, filters = (256, 512) if number == 6 else (128, 256)
        yield f"conv{number}_1", inputs, bottleneck, 1, ""
        if number == 10:
            yield "conv10_2", bottleneck, filters, 4, "pad: 1"
        elif net.size == 300 and number >= 8:
            yield f"conv{number}_2", bottleneck, filters, 3, ""
        else:
            yield f"conv{number}_2", bottleneck, filters, 3, "pad: 1 stride: 2"
        inputs = filters


def head_layers(net):
    widths = [512, 1024, 512, *[256] * (len(net.steps) - 3)]
    for source, width, count in zip(net.sources, widths, net.boxes_per_cell, strict=True):
        yield f"{source}_mbox_loc", width, 4 * count, 3, "pad: 1"
        yield f"{source}_mbox_conf", width, net.num_classes * count, 3, "pad: 1"


# Weights


def random_backbone(seed):
    """Arrays [kernel, bias] by layer, kernels [out, in, height, width]."""
    arrays = {}
    for index, (name, inputs, outputs, kernel, _) in enumerate(backbone_layers()):
        arrays[name] = _convolution([seed, 0, index], inputs, outputs, kernel, 2.9)
    # Pixels of +-128 become activations of about one.
    arrays["conv1_1"][0] /= 60
    return arrays


def random_weights(net):
    """Arrays of every layer by name; outputs vary from cell to cell, as those of a trained net."""
    arrays = random_backbone(net.seed)
    generator = np.random.default_rng([net.seed, 1])
    arrays["conv4_3_norm"] = [10 + 20 * generator.random(512, dtype="float32")]
    for index, (name, inputs, outputs, kernel, _) in enumerate(extra_layers(net)):
        arrays[name] = _convolution([net.seed, 2, index], inputs, outputs, kernel, 2.9)
    for index, (name, inputs, outputs, kernel, _) in enumerate(head_layers(net)):
        spread = DELTA_SPREAD if name.endswith("_loc") else LOGIT_SPREAD
        arrays[name] = _convolution([net.seed, 3, index], inputs, outputs, kernel, 3 * spread**2)
    return arrays


def _convolution(seed, inputs, outputs, kernel, gain):
    """Kernel and bias from uniform numbers, which are the same bits on every machine.

    Kernels have the mean 0 and ignore what all channels share, so that deep features of a random
    net differ from cell to cell.
    """
    generator = np.random.default_rng(seed)
    weights = generator.random((outputs, inputs, kernel, kernel), dtype="float32") - np.float32(0.5)
    weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
    weights *= np.float32((12 * gain / (inputs * kernel**2)) ** 0.5)
    return [weights, 0.4 * generator.random(outputs, dtype="float32") - np.float32(0.2)]


# Files


def load_schema():
    """`caffe_schema` without the rest of the package, which needs Keras."""
    spec = importlib.util.spec_from_file_location("caffe_schema", SCHEMA)
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    return schema


def caffemodel(arrays, net=None, legacy=False, double=False):
    """Bytes of a .caffemodel file with a list of arrays by layer and the net's PriorBox layers.

    `legacy` is the format before 2014 with four numbers as shapes, `double` numbers of eight bytes.
    """
    message = load_schema().NetParameter()
    message.layer.add(name=b"input")
    for name, values in arrays.items():
        if legacy:
            layer = message.layers.add(name=name.encode())
        else:
            layer = message.layer.add(name=name.encode())
        for array in values:
            blob = layer.blobs.add()
            if double:
                blob.double_data = array.astype("<f8").tobytes()
            else:
                blob.data = array.astype("<f4").tobytes()
            if legacy and len(values) > 1:  # the older format has no normalisation
                shape = (1,) * (4 - array.ndim) + array.shape
                blob.num, blob.channels, blob.height, blob.width = shape
            else:
                blob.shape.dim.extend(array.shape)
    for index, source in enumerate(net.sources if net else ()):
        layer = message.layer.add(name=f"{source}_mbox_priorbox".encode())
        parameter = layer.prior_box_param
        parameter.min_size.append(net.sizes[index])
        parameter.max_size.append(net.sizes[index + 1])
        parameter.aspect_ratio.extend([2, 3] if net.has_ratio_3[index] else [2])
        parameter.flip, parameter.clip, parameter.offset = True, False, 0.5
        parameter.variance.extend(VARIANCES)
        parameter.step = net.steps[index]
    return message.SerializeToString()


def deploy_prototxt(net, batch_size):
    """The text of deploy.prototxt."""
    lines = [
        'name: "generated" input: "data"',
        f"input_shape {{ dim: {batch_size} dim: 3 dim: {net.size} dim: {net.size} }}",
    ]
    bottom = "data"
    for name, _, outputs, kernel, more in [*backbone_layers(), *extra_layers(net)]:
        lines += _convolution_text(name, bottom, outputs, kernel, more)
        lines.append(_layer("ReLU", f"{name}_relu", [name], top=name))
        bottom = name
        if name in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"):
            bottom = f"pool{name[4]}"
            is_pool5 = bottom == "pool5"
            window = "kernel_size: 3 stride: 1 pad: 1" if is_pool5 else "kernel_size: 2 stride: 2"
            fields = f"pooling_param {{ pool: MAX {window} }}"
            lines.append(_layer("Pooling", bottom, [name], fields))
        if name == "conv4_3":
            filler = 'scale_filler { type: "constant" value: 20 }'
            fields = f"norm_param {{ across_spatial: false {filler} channel_shared: false }}"
            lines.append(_layer("Normalize", "conv4_3_norm", ["conv4_3"], fields))
    lines += _head_text(net)
    return "\n".join(lines)


def _layer(layer_type, name, bottoms, fields="", top=None):
    inputs = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "{layer_type}" {inputs} top: "{top or name}" {fields} }}'


def _convolution_text(name, bottom, outputs, kernel, more):
    fields = f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} {more} }}"
    return [_layer("Convolution", name, [bottom], fields)]


def _head_text(net):
    lines = []
    for name, _, outputs, kernel, more in head_layers(net):
        lines += _convolution_text(name, name.rsplit("_mbox", 1)[0], outputs, kernel, more)
        order = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
        lines.append(_layer("Permute", f"{name}_perm", [name], order))
        flatten = "flatten_param { axis: 1 }"
        lines.append(_layer("Flatten", f"{name}_flat", [f"{name}_perm"], flatten))
    for index, source in enumerate(net.sources):
        ratios = "aspect_ratio: 2 " + ("aspect_ratio: 3 " if net.has_ratio_3[index] else "")
        variances = " ".join(f"variance: {value}" for value in VARIANCES)
        fields = (
            f"prior_box_param {{ min_size: {net.sizes[index]} max_size: {net.sizes[index + 1]} "
            f"{ratios} flip: true clip: false {variances} step: {net.steps[index]} offset: 0.5 }}"
        )
        lines.append(_layer("PriorBox", f"{source}_mbox_priorbox", [source, "data"], fields))
    for name, part, axis in (
        ("loc", "loc_flat", 1),
        ("conf", "conf_flat", 1),
        ("priorbox",) * 2 + (2,),
    ):
        bottoms = [f"{source}_mbox_{part}" for source in net.sources]
        lines.append(_layer("Concat", f"mbox_{name}", bottoms, f"concat_param {{ axis: {axis} }}"))
    shape = f"reshape_param {{ shape {{ dim: 0 dim: -1 dim: {net.num_classes} }} }}"
    lines += [
        _layer("Reshape", "mbox_conf_reshape", ["mbox_conf"], shape),
        _layer("Softmax", "mbox_conf_softmax", ["mbox_conf_reshape"], "softmax_param { axis: 2 }"),
        _layer("Flatten", "mbox_conf_flatten", ["mbox_conf_softmax"], "flatten_param { axis: 1 }"),
        _layer(
            "DetectionOutput",
            "detection_out",
            ["mbox_loc", "mbox_conf_flatten", "mbox_priorbox"],
            f"detection_output_param {{ num_classes: {net.num_classes} share_location: true "
            "background_label_id: 0 nms_param { nms_threshold: 0.45 top_k: 400 } "
            "code_type: CENTER_SIZE keep_top_k: 200 confidence_threshold: 0.01 }",
        ),
    ]
    return lines


# Images


def generated_image(size, seed=5):
    """Patches of colour in three sizes, uint8 RGB [size, size, 3]."""
    generator = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), "int32")
    for cells, spread in ((4, 90), (12, 90), (60, 75)):
        grid = generator.integers(0, spread + 1, (cells, cells, 3), dtype="int32")
        image += nearest(grid, size)
    return image.astype("uint8")


def nearest(image, size):
    """Resizes to a square with whole numbers, which is the same on every machine."""
    rows, columns = (np.arange(size) * side // size for side in image.shape[:2])
    return image[rows[:, None], columns]


def blob(images):
    """The input of Caffe's network: blue first, mean subtracted, [B, 3, H, W] float32."""
    bgr = np.asarray(images)[..., ::-1].astype("float32") - np.float32([104, 117, 123])
    return np.ascontiguousarray(bgr.transpose(0, 3, 1, 2))
