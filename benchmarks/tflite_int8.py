"""SSDLite320-MobileNetV3, int8 TFLite with suppression, beside the same network elsewhere.

Peers: the network alone in ONNX Runtime, int8 (weights by channel, calibrated on the same
images), without decoding and suppression; and torch in float32, the network alone as well. All
have the same random weights and take one resized image.
"""

import os
import tempfile

import numpy as np
from images import NUM_CLASSES
from inference import LOGIT_SPREAD
from pairs import Side, import_torchvision, ratios, repeated, row, take_turns

SIZE = 320
CALIBRATION = 16


def images():
    """Smooth generated images, uint8 [n, 320, 320, 3]."""
    generator = np.random.default_rng(4)
    small = generator.integers(0, 256, (CALIBRATION, SIZE // 16, SIZE // 16, 3), "uint8")
    return small.repeat(16, axis=1).repeat(16, axis=2)


def torch_images():
    """The same as torch's networks take them, float32 [n, 3, 320, 320] in -1..1."""
    return (images().transpose(0, 3, 1, 2) / 127.5 - 1).astype("float32")


def torchvision_network(path):
    """The network without resizing, decoding and suppression; its weights are in `path`."""
    import torch

    torchvision = import_torchvision()
    torch.manual_seed(0)
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=1 + NUM_CLASSES
    )

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = model.backbone, model.head

        def forward(self, images):
            found = self.head(list(self.backbone(images).values()))
            return found["bbox_regression"], found["cls_logits"]

    network = Network()
    if not os.path.exists(path):
        settle(network, torch)
        torch.save(model.state_dict(), path)
    model.load_state_dict(torch.load(path))
    return network.eval()


def settle(network, torch):
    """Batch statistics of the images, and class logits that vary as a trained model's."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the mean of all batches
                module.reset_running_stats()
        network.train()(torch.tensor(torch_images()))
        network.eval()
        features = list(network.backbone(torch.tensor(torch_images())).values())
        heads = network.head.classification_head.module_list
        for head, feature in zip(heads, features, strict=True):
            head[-1].weight *= LOGIT_SPREAD / head(feature).std()


class Torch:
    def __init__(self, weights, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.network = torch, torchvision_network(weights)
        self.image = torch.tensor(torch_images()[:1])

    def detect(self):
        with self.torch.inference_mode():
            return repeated(lambda: self.network(self.image))


class OnnxRuntime:
    def __init__(self, weights, threads):
        import onnxruntime

        quantized = os.path.join(os.path.dirname(weights), "network_int8.onnx")
        if not os.path.exists(quantized):
            write_int8_onnx(torchvision_network(weights), quantized)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            quantized, options, providers=["CPUExecutionProvider"]
        )
        self.image = torch_images()[:1]

    def detect(self):
        return repeated(lambda: self.session.run(None, {"images": self.image}))


def write_int8_onnx(network, path):
    import torch
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    whole, ready = path + ".whole", path + ".ready"
    torch.onnx.export(
        network,
        (torch.tensor(torch_images()[:1]),),
        whole,
        input_names=["images"],
        opset_version=17,
        dynamo=False,
    )
    quant_pre_process(whole, ready)

    class Reader(CalibrationDataReader):
        images = iter(torch_images())

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {"images": image[None]}

    quantize_static(
        ready,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


class SsdKeras:
    """The .tflite in LiteRT's interpreter, suppression inside, uint8 in."""

    def __init__(self, weights, threads):
        from ai_edge_litert.interpreter import Interpreter

        path = os.path.join(os.path.dirname(weights), "detector.tflite")
        if not os.path.exists(path):
            write_tflite(weights, path)
        self.interpreter = Interpreter(path, num_threads=threads)
        self.interpreter.allocate_tensors()
        self.place = self.interpreter.get_input_details()[0]["index"]
        self.image = images()[:1]

    def detect(self):
        def run():
            self.interpreter.set_tensor(self.place, self.image)
            self.interpreter.invoke()

        return repeated(run)


def write_tflite(weights, path):
    from ssd_keras.core.class_names import VOC_CLASSES
    from ssd_keras.exporters.tflite import tflite_model
    from ssd_keras.importers.torchvision import import_torchvision

    model = import_torchvision(weights, VOC_CLASSES)
    content = tflite_model(model, "int8", calibration=images())
    with open(path, "wb") as file:
        file.write(content)


SIDES = {"ssd_keras": SsdKeras, "ONNX Runtime int8": OnnxRuntime, "torch float32": Torch}


def benchmark(tiny):
    result = {"rows": [], "seconds": {}, "others_share": {}}
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "weights.pth")
        for threads in (1,) if tiny else (1, 2):
            options = {"cores": threads, "weights": weights, "threads": threads}
            sides = {}
            for name in reversed(SIDES):  # torch, the first, writes the weights of all
                sides[name] = Side("tflite_int8", name, **options)
                sides[name].ask("detect")
            asks = {name: lambda side=side: side.ask("detect") for name, side in sides.items()}
            clock = "core_seconds" if threads == 1 else "seconds"
            seconds, others = take_turns(asks, 2 if tiny else 15, clock=clock)
            for side in sides.values():
                side.__exit__()
            result["seconds"][str(threads)] = seconds
            result["others_share"][str(threads)] = others
            what = f"SSDLite320-MobileNetV3 int8 TFLite with suppression, threads {threads}: time"
            ours = seconds["ssd_keras"]
            result["rows"] += [
                row(what, f"{peer}, the network alone", ratios(ours, seconds[peer]), "at most", 1)
                for peer in list(SIDES)[1:]
            ]
    return result
