"""SSDLite320-MobileNetV3 as int8 TFLite with NMS against the same network in other runtimes.

The peers compute the network without decoding and NMS, with the same weights, of a resized image.
"""

import os
import tempfile
from contextlib import ExitStack

from pairs import Side, ratios, repeated, row, take_turns
from peers import SSDLITE, generated_squares, imported, share_weights, torchvision_model

IMAGES = generated_squares(16, 320, 320)
# As torch's networks take them, float32 [n, 3, 320, 320] in -1..1.
NORMALISED = (IMAGES.transpose(0, 3, 1, 2) / 127.5 - 1).astype("float32")


def torchvision_network(weights):
    """The network without resizing, decoding and NMS."""
    import torch

    model = torchvision_model(SSDLITE)
    model.forward = lambda images: tuple(model.head([*model.backbone(images).values()]).values())
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # batch statistics are those of the images alone
            module.reset_running_stats()
    with torch.no_grad():
        model.train()(torch.tensor(NORMALISED))
    share_weights(model.eval(), weights, torch.tensor(NORMALISED))
    return model


class Torch:
    def __init__(self, weights, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.network = torch, torchvision_network(weights)
        self.image = torch.tensor(NORMALISED[:1])

    def detect(self):
        with self.torch.inference_mode():
            return repeated(lambda: self.network(self.image))


class OnnxRuntime:
    def __init__(self, weights, threads):
        import onnxruntime

        path = os.path.join(os.path.dirname(weights), "network_int8.onnx")
        if not os.path.exists(path):
            write_int8_onnx(torchvision_network(weights), path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])

    def detect(self):
        return repeated(lambda: self.session.run(None, {"images": NORMALISED[:1]}))


def write_int8_onnx(network, path):
    import torch
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    whole, ready = path + ".whole", path + ".ready"
    image, names = torch.tensor(NORMALISED[:1]), ["images"]
    torch.onnx.export(network, (image,), whole, input_names=names, opset_version=17, dynamo=False)
    quant_pre_process(whole, ready)

    class Reader(quantization.CalibrationDataReader):
        batches = ({"images": image} for image in NORMALISED[:, None])

        def get_next(self):
            return next(self.batches, None)

    unsigned = quantization.QuantType.QUInt8
    quantization.quantize_static(ready, path, Reader(), per_channel=True, activation_type=unsigned)


class SsdKeras:
    """The .tflite in LiteRT's interpreter, NMS inside, uint8 in."""

    def __init__(self, weights, threads):
        from ai_edge_litert.interpreter import Interpreter

        from ssd_keras.exporters.tflite import tflite_model

        path = os.path.join(os.path.dirname(weights), "detector.tflite")
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(tflite_model(imported(weights), "int8", calibration=IMAGES))
        self.interpreter = Interpreter(path, num_threads=threads)
        self.interpreter.allocate_tensors()
        self.place = self.interpreter.get_input_details()[0]["index"]

    def detect(self):
        def run():
            self.interpreter.set_tensor(self.place, IMAGES[:1])
            self.interpreter.invoke()

        return repeated(run)


# torch, the first, writes the weights of all.
SIDES = {"torch float32": Torch, "ONNX Runtime int8": OnnxRuntime, "ssd_keras": SsdKeras}


def benchmark(tiny):
    result = {"rows": [], "seconds": {}, "others_share": {}}
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "weights.pth")
        for threads in (1,) if tiny else (1, 2):
            with ExitStack() as stack:
                asks = {}
                for name in SIDES:
                    side = Side("tflite_int8", name, threads, weights=weights, threads=threads)
                    asks[name] = stack.enter_context(side).detect
                    asks[name]()  # the next side starts when this one is ready
                clock = "core_seconds" if threads == 1 else "seconds"
                seconds, others = take_turns(asks, 2 if tiny else 15, clock=clock)
            result["seconds"][str(threads)], result["others_share"][str(threads)] = seconds, others
            what = f"SSDLite320-MobileNetV3 int8 TFLite with suppression, threads {threads}: time"
            for name in ("ONNX Runtime int8", "torch float32"):
                ratio = ratios(seconds["ssd_keras"], seconds[name])
                result["rows"].append(row(what, f"{name}, the network alone", ratio, at_most=1))
    return result
