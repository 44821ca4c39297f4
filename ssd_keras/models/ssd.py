"""The SSD model: backbone, extra layers, heads."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.losses.box import BoxLoss
from ssd_keras.losses.classification import ClassLoss, check_activation
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.heads import head
from ssd_keras.models.layers import Preprocessor
from ssd_keras.models.necks import ExtraLayer, extra_layer
from ssd_keras.models.post_process import PostProcess
from ssd_keras.optimizers.caffe_sgd import CaffeSGD

if TYPE_CHECKING:
    from ssd_keras.assigners.max_iou import TargetEncoder
    from ssd_keras.drawing.results import DetectionResult


@keras.saving.register_keras_serializable("ssd_keras")
class SSD(keras.Model):
    """Single Shot MultiBox Detector, a functional Keras model made of parts.

    Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, arXiv 1512.02325. The functions
    of `ssd_keras.models.builders.common` fix the paper's numbers; this class takes any.

    Args:
        backbone: `keras.Model` whose outputs are feature maps [B, H, W, C], finest first.
        default_boxes: `DefaultBoxes` with as many maps as there are feature_maps.
        class_names: names of the classes without background, in the order of the labels.
        image_size: height and width of the input in pixels.
        extra_layers: `ExtraLayer`s that continue the backbone's last map. Default none.
        feature_maps: which of backbone outputs and extra layers (counted from 0, finest first) get
            heads. Default all of them.
        style: `ConvStyle` of extra layers and heads.
        preprocessor: arguments of `Preprocessor`: mean, scale, channel_order.
        post_process: `PostProcess` that `detect` and exports use.
        activation: how class logits become scores: "softmax" (default, the paper's) or
            "sigmoid", which ignores the background's logit.
        name: name of the model. Default "ssd".

    Call arguments:
        images: RGB in 0..255, uint8 or float, [B, H, W, 3].

    Returns of a call:
        "box_deltas" float32 [B, N, 4] and "class_logits" float32 [B, N, 1 + classes], background
        first, for N default boxes.

    Raises:
        ValueError: when maps and default boxes disagree, or there is no class.

    Example:

    >>> image = keras.Input((64, 64, 3))
    >>> x = layers.Conv2D(8, 3, 8, padding="same", activation="relu")(image)
    >>> boxes = DefaultBoxes.from_scales((64, 64), 2)
    >>> model = SSD(keras.Model(image, [x]), boxes, ["cat"], (64, 64), [ExtraLayer(8, 16)])
    >>> {name: value.shape for name, value in model.output.items()}
    {'box_deltas': (None, 480, 4), 'class_logits': (None, 480, 2)}
    """

    def __init__(
        self,
        backbone: keras.Model,
        default_boxes: DefaultBoxes,
        class_names: Sequence[str],
        image_size: tuple[int, int],
        extra_layers: Sequence[ExtraLayer] = (),
        feature_maps: Sequence[int] | None = None,
        style: ConvStyle | None = None,
        preprocessor: dict | None = None,
        post_process: PostProcess | None = None,
        activation: str = "softmax",
        name: str = "ssd",
        **kwargs: Any,
    ):
        style = style or ConvStyle()
        if isinstance(class_names, str):
            raise ValueError(f"class_names={class_names!r} is a text; pass a list of names.")
        if not class_names:
            raise ValueError("class_names is empty; pass the name of at least one class.")
        check_activation(activation)

        # 1. Layers
        image = keras.Input((*image_size, 3), name="images")
        x = Preprocessor(**(preprocessor or {}), name="preprocessor")(image)
        maps = _backbone_feature_maps(backbone, x)
        for index, spec in enumerate(extra_layers, start=1):
            maps.append(extra_layer(maps[-1], spec, f"extra{index}", style))

        # 2. Functional model
        chosen = _choose_feature_maps(maps, feature_maps, default_boxes)
        num_outputs = 1 + len(class_names)
        deltas, logits = [], []
        for index, (x, count) in enumerate(
            zip(chosen, default_boxes.boxes_per_cell, strict=True), start=1
        ):
            deltas.append(_flat_head(x, count, 4, f"box_head{index}", style))
            logits.append(_flat_head(x, count, num_outputs, f"class_head{index}", style))
        outputs = {
            "box_deltas": _join(deltas, "box_deltas"),
            "class_logits": _join(logits, "class_logits"),
        }
        super().__init__(inputs=image, outputs=outputs, name=name, **kwargs)

        # 3. Config
        self.backbone = backbone
        self.default_boxes = default_boxes
        self.class_names = tuple(class_names)
        self.image_size = (image_size[0], image_size[1])
        self.extra_layers = tuple(extra_layers)
        self.feature_maps = None if feature_maps is None else tuple(feature_maps)
        self.style = style
        self.preprocessor = preprocessor
        self.post_process = post_process or PostProcess()
        self.activation = activation
        self.feature_sizes = tuple(tuple(x.shape[1:3]) for x in chosen)
        self.default_box_array = default_boxes.boxes(image_size, self.feature_sizes)

    def compile(self, optimizer=None, loss=None, **kwargs):
        """Configures training as in any Keras model, with SSD's losses unless others are given.

        Args:
            optimizer: Keras optimizer or its name. Default `CaffeSGD()`, the paper's.
            loss: a dictionary for "box_deltas" and "class_logits". Default `BoxLoss()` and
                `ClassLoss()` with the model's score activation.
            **kwargs: other arguments of `keras.Model.compile`.

        Raises:
            ValueError: for a `ClassLoss` of another score activation.
        """
        class_loss = ClassLoss(activation=self.activation)
        loss = loss or {"box_deltas": BoxLoss(), "class_logits": class_loss}
        given = loss.get("class_logits") if isinstance(loss, dict) else None
        if isinstance(given, ClassLoss) and given.activation != self.activation:
            raise ValueError(
                f"the loss is ClassLoss(activation={given.activation!r}) but the "
                f"model's scores are {self.activation}; pass the same to both."
            )
        super().compile(optimizer=optimizer or CaffeSGD(), loss=loss, **kwargs)

    def compile_from_config(self, config):
        # Keras leaves this to models that override `compile`: without it, a loaded model would
        # not be compiled.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def detect(self, images: Any, batch_size: int = 8) -> "DetectionResult | list[DetectionResult]":
        """Detects objects in images of any sizes, which are resized to the model's input.

        Args:
            images: one image, or several: RGB in 0..255 [H, W, 3], uint8 or float, or the path
                of a JPEG, PNG, BMP or GIF file; or an array [B, H, W, 3].
            batch_size: images of one forward pass. Default 8.

        Returns:
            a `ssd_keras.DetectionResult` for one image, a list of them for several: `boxes`
            relative yxyx [n, 4], `scores` [n] falling, `labels` [n], `class_names`, `plot()`,
            `to_json()` and more.

        Raises:
            ValueError: for anything that is no RGB image.
        """
        from ssd_keras.engine.detector import detect, own_detector

        return detect(own_detector(self), images, batch_size)

    def export(self, filepath, format="tf_saved_model", verbose=None, **options):
        """Exports the whole detector: decoded, suppressed, named detections.

        Args:
            filepath: directory of a SavedModel, or a file ending in .tflite.
            format: "tf_saved_model" (default) or "litert", a TFLite file, as Keras names them.
                Others of Keras' formats get the raw outputs.
            verbose: print what was written and how it compares with this model. Default True.
            **options: post_process, images, precision, weights, quantize, post_processing and
                input_dtype of `ssd_keras.exporters.export.export`.

        Raises:
            ValueError: for a wrong choice, or when the artefact fails its check.
        """
        formats = {"tf_saved_model": "saved_model", "litert": "tflite"}
        if format not in formats:
            super().export(filepath, format=format, verbose=verbose, **options)
            return
        from ssd_keras.exporters.export import export

        report = export(self, str(filepath), formats[format], **options)
        if verbose is None or verbose:
            print(report)

    def target_encoder(self, **options: Any) -> "TargetEncoder":
        """The `TargetEncoder` for this model's default boxes.

        Args:
            **options: threshold and use_boundary_boxes of `TargetEncoder`.

        Returns:
            `TargetEncoder`.
        """
        from ssd_keras.assigners.max_iou import TargetEncoder

        return TargetEncoder(self.default_box_array, self.default_boxes.variances, **options)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize(self.dtype_policy),
            "backbone": serialize(self.backbone),
            "default_boxes": serialize(self.default_boxes),
            "class_names": list(self.class_names),
            "image_size": list(self.image_size),
            "extra_layers": [serialize(spec) for spec in self.extra_layers],
            "feature_maps": None if self.feature_maps is None else list(self.feature_maps),
            "style": serialize(self.style),
            "preprocessor": self.preprocessor,
            "post_process": serialize(self.post_process),
            "activation": self.activation,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        def revive(value):
            return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)

        config = dict(config)
        for key in ("backbone", "default_boxes", "style", "post_process"):
            config[key] = revive(config[key])
        config["extra_layers"] = [revive(spec) for spec in config["extra_layers"]]
        # Extra layers and heads get the precision that they were built with, like the backbone.
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(revive(config.pop("dtype")))
        try:
            return cls(**config)
        finally:
            keras.config.set_dtype_policy(policy)


def _backbone_feature_maps(backbone, x):
    """The backbone's outputs as a list, checked to be feature maps of a fixed size."""
    outputs = backbone(x)
    maps = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    for index, feature_map in enumerate(maps):
        if len(feature_map.shape) != 4 or None in feature_map.shape[1:]:
            raise ValueError(
                f"output {index} of the backbone {backbone.name!r} has the shape {feature_map.shape}; "
                "expected a feature map [B, H, W, C] of fixed size: choose other layers with "
                "`feature_extractor`."
            )
    return maps


def _choose_feature_maps(maps, feature_maps, default_boxes):
    """The maps that get heads, checked against the default boxes."""
    if feature_maps is not None and not all(0 <= index < len(maps) for index in feature_maps):
        raise ValueError(
            f"feature_maps={tuple(feature_maps)} must count from 0 to {len(maps) - 1}: "
            f"there are {len(maps)} feature maps."
        )
    chosen = maps if feature_maps is None else [maps[index] for index in feature_maps]
    expected = len(default_boxes.aspect_ratios)
    if len(chosen) != expected:
        sizes = ", ".join(f"{x.shape[1]}x{x.shape[2]}" for x in chosen)
        raise ValueError(
            f"default_boxes describes {expected} feature maps but the model has {len(chosen)} "
            f"({sizes}); give one entry of aspect_ratios for each."
        )
    return chosen


def _flat_head(x, boxes_per_cell, numbers, name, style):
    """A head whose output stands in the order of the default boxes, [B, boxes, numbers]."""
    rows, columns = x.shape[1:3]
    x = head(x, boxes_per_cell * numbers, name, style)
    shape = (rows * columns * boxes_per_cell, numbers)
    return layers.Reshape(shape, name=f"{name}_flat")(x)


def _join(parts, name):
    """All maps' predictions in float32: loss, softmax and decoding need its digits."""
    x = parts[0] if len(parts) == 1 else layers.Concatenate(axis=1, name=f"{name}_join")(parts)
    return layers.Activation("linear", dtype="float32", name=name)(x)
