"""The SSD model: backbone, neck, head."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from ssd_keras.assigners.assigner import Assigner
from ssd_keras.assigners.max_iou import MaxIoUAssigner
from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.class_names import check_class_names
from ssd_keras.core.display_thresholds import DEFAULT, DisplayThreshold, by_label, by_name
from ssd_keras.core.origin import Origin
from ssd_keras.core.precision import dtype_policy
from ssd_keras.core.text import is_plain_text, one_line
from ssd_keras.losses.box import BoxLoss, SmoothL1Loss
from ssd_keras.losses.classification import (
    ClassLoss,
    SigmoidLoss,
    SoftmaxLoss,
    check_activation,
)
from ssd_keras.models.detector_model import DetectorModel
from ssd_keras.models.feature_maps import backbone_feature_maps, check_feature_maps
from ssd_keras.models.heads import SSDHead, join_maps
from ssd_keras.models.layers import Preprocessor
from ssd_keras.models.necks import FeatureMaps
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.save_format import refuse_hdf5
from ssd_keras.models.training_targets import loss_arguments
from ssd_keras.optimizers.caffe_sgd import CaffeSGD
from ssd_keras.optimizers.weight_average import average_statistics

if TYPE_CHECKING:
    from ssd_keras.models.target_encoder import TargetEncoder

Neck = Callable[[FeatureMaps], FeatureMaps]
Head = Any  # a callable record with `box_layers` and `class_layers`, such as `SSDHead`


@keras.saving.register_keras_serializable("ssd_keras")
class SSD(DetectorModel):
    """Single Shot MultiBox Detector, a functional Keras model made of parts.

    Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, arXiv 1512.02325. The functions
    of `ssd_keras.models.builders` fix the paper's numbers; this class takes any.

    Args:
        backbone: `keras.Model` whose outputs are feature maps [B, H, W, C], finest first.
        default_boxes: `DefaultBoxes` (anchors, priors) of the feature maps that the head gets.
        class_names: names of the classes without background, in the order of the labels.
        image_size: height and width of the input in pixels.
        neck: between backbone and head: `ExtraLayers` (the paper's), `FPN`, another callable
            record, or several in a row. Default None: the head gets the backbone's maps.
        head: `SSDHead` (the paper's), `SharedHead`, or another. Default `SSDHead()`.
        assigner: decides which default box learns which object: `MaxIoUAssigner()` (default, the
            paper's) or another of `ssd_keras.assigners`.
        post_process: `PostProcess` that `detect` and exports use. Default `PostProcess()`.
        activation: function from class logits to scores: "softmax" (default, the paper's) or
            "sigmoid", which ignores the background's logit.
        preprocessor: dictionary that describes the input of the backbone: "mean" (subtracted
            from red, green and blue, in 0..255), "scale" (factor after that, one number or three)
            and "channel_order" ("rgb" or "bgr"). Default: images stay as they are.
        origin: `ssd_keras.core.origin.Origin`, data and weights that the model comes from with
            their licences, which training sets and exports record; or its dictionary. Default
            None: not stated.
        display_threshold: the operating point, the smallest score that is drawn and counted, 0..1:
            one for all classes, or by class name; classes that are not named have 0.5. Default
            0.5.
        name: name of the model. Default "ssd".
        trainable: the weights are trained, but for those of frozen layers. Default True.

    Call arguments:
        images: RGB in 0..255, uint8 or float, [B, H, W, 3].

    Returns of a call:
        "box_deltas" float32 [B, N, 4] and "class_logits" float32 [B, N, 1 + classes], background
        first, for N default boxes.

    Raises:
        ValueError: when feature maps and default boxes disagree, class names are missing,
            repeated or no plain text, the activation or a class of the thresholds is unknown, or a
            threshold is out of range.

    Example:

    >>> from ssd_keras import ExtraLayer, ExtraLayers
    >>> image = keras.Input((64, 64, 3))
    >>> x = keras.layers.Conv2D(8, 3, 8, padding="same", activation="relu")(image)
    >>> boxes = DefaultBoxes.from_scales((64, 64), 2)
    >>> neck = ExtraLayers((ExtraLayer(8, 16),))
    >>> model = SSD(keras.Model(image, [x]), boxes, ["cat"], (64, 64), neck=neck)
    >>> {name: value.shape for name, value in model.output.items()}
    {'box_deltas': (None, 480, 4), 'class_logits': (None, 480, 2)}
    """

    def __init__(
        self,
        backbone: keras.Model,
        default_boxes: DefaultBoxes,
        class_names: Sequence[str],
        image_size: tuple[int, int],
        *,
        neck: Neck | Sequence[Neck] | None = None,
        head: Head | None = None,
        assigner: Assigner | None = None,
        post_process: PostProcess | None = None,
        activation: str = "softmax",
        preprocessor: Mapping[str, Any] | None = None,
        origin: Origin | Mapping[str, Any] | None = None,
        display_threshold: float | Mapping[str, float] = DEFAULT,
        name: str = "ssd",
        trainable: bool = True,
    ) -> None:
        check_class_names(class_names)
        if not is_plain_text(name):
            raise ValueError(
                f"name is {one_line(repr(name))}; expected one line without control characters."
            )
        check_activation(activation)
        necks = _as_tuple(neck)
        head = head or SSDHead()

        # 1. Layers
        image = keras.Input((*image_size, 3), name="images")
        x = Preprocessor(**(preprocessor or {}), name="preprocessor")(image)
        maps = backbone_feature_maps(backbone, x)
        for each in necks:
            maps = each(maps)
        check_feature_maps(maps, default_boxes)

        # 2. Functional model
        num_outputs = 1 + len(class_names)
        deltas, logits = head(maps, default_boxes.boxes_per_cell, num_outputs)
        outputs = {
            "box_deltas": join_maps(deltas, 4, "box_deltas"),
            "class_logits": join_maps(logits, num_outputs, "class_logits"),
        }
        super().__init__(inputs=image, outputs=outputs, name=name, trainable=trainable)

        # 3. Config
        self.backbone = backbone
        self.default_boxes = default_boxes
        self.class_names = tuple(class_names)
        self.image_size = (image_size[0], image_size[1])
        self.neck = necks
        self.head = head
        self.preprocessor = preprocessor
        self.assigner = assigner or MaxIoUAssigner()
        self.activation = activation
        self.origin = Origin.from_dict(origin) if isinstance(origin, Mapping) else origin
        self.feature_sizes = tuple(tuple(x.shape[1:3]) for x in maps)
        self.default_box_array = self.default_box_grid.boxes()
        self.post_process = post_process or PostProcess()
        self._display_threshold = by_label(display_threshold, self.class_names)

    @property
    def post_process(self) -> PostProcess:
        """Thresholds and the way from this model's outputs to detections; may be replaced."""
        return self._post_process

    @post_process.setter
    def post_process(self, post_process: PostProcess) -> None:
        self._post_process = post_process.bound_to(self)

    @property
    def display_threshold(self) -> DisplayThreshold:
        """The smallest score that is drawn and counted: for all classes, or a tuple by label.

        It may be set to a number, a dictionary by class name, or such a tuple.
        """
        return self._display_threshold

    @display_threshold.setter
    def display_threshold(self, value: float | Mapping[str, float] | tuple[float, ...]) -> None:
        self._display_threshold = by_label(value, self.class_names)

    @property
    def default_box_grid(self) -> DefaultBoxGrid:
        """The default boxes together with the sizes that place them."""
        return DefaultBoxGrid(self.default_boxes, self.image_size, self.feature_sizes)

    def compile(self, optimizer: Any = None, loss: Any = None, **kwargs: Any) -> None:
        """Configures training like any Keras model; the default losses are SSD's.

        Args:
            optimizer: Keras optimizer or its name. Default `CaffeSGD()`, the paper's.
            loss: dictionary with a `BoxLoss` for "box_deltas" and a `ClassLoss` for
                "class_logits", see `ssd_keras.losses`. Default for what it does not name:
                `SmoothL1Loss()`, and `SoftmaxLoss()` or `SigmoidLoss()` by the activation.
            **kwargs: other arguments of `keras.Model.compile`.

        Raises:
            ValueError: for another kind of loss, or a `ClassLoss` of another activation.
        """
        losses = _losses_of(loss or {}, self.activation)
        super().compile(optimizer=optimizer or CaffeSGD(), loss=losses, **kwargs)
        average_statistics(self)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        # Objects that the target encoder passes on are assigned here, by the predictions.
        y, y_pred = loss_arguments(self, y, y_pred)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compile_from_config(self, config: dict) -> None:
        # Keras does not compile loaded models that override `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def target_encoder(self) -> "TargetEncoder":
        """Returns what makes targets for this model, see `ssd_keras.training_dataset`.

        Returns:
            `TargetEncoder` of the model's assigner and default boxes. If the loss of classes uses
            the assigner's quality of a match, call this after `compile`.
        """
        from ssd_keras.models.target_encoder import TargetEncoder  # which needs TensorFlow

        variances = self.default_boxes.variances
        loss = self.loss["class_logits"] if self.compiled else None
        with_quality = bool(loss and loss.uses_quality and not loss.uses_predicted_iou)
        return TargetEncoder(
            self.assigner, self.default_box_grid, variances, with_quality, self.class_names
        )

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        refuse_hdf5(self.backbone)
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize(self.dtype_policy),
            "backbone": serialize(self.backbone),
            "default_boxes": serialize(self.default_boxes),
            "class_names": list(self.class_names),
            "image_size": list(self.image_size),
            "neck": [serialize(neck) for neck in self.neck],
            "head": serialize(self.head),
            "preprocessor": self.preprocessor,
            "assigner": serialize(self.assigner),
            "post_process": serialize(self.post_process),
            "activation": self.activation,
            "origin": self.origin and self.origin.to_dict(),
            "display_threshold": by_name(self.display_threshold, self.class_names),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SSD":
        def deserialize(value: Any) -> Any:
            return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)

        config = dict(config)
        for key in ("backbone", "default_boxes", "head", "assigner", "post_process"):
            config[key] = deserialize(config[key])
        config["neck"] = [deserialize(neck) for neck in config["neck"]]
        # Neck and head get the precision that they were built with, like the backbone.
        with dtype_policy(deserialize(config.pop("dtype"))):
            return cls(**config)


def _losses_of(given: Any, activation: str) -> dict[str, Any]:
    """Returns a loss for each output: the given ones where they fit the model, else SSD's."""
    bases = {"box_deltas": BoxLoss, "class_logits": ClassLoss}
    if not (isinstance(given, Mapping) and given.keys() <= bases.keys()):
        raise ValueError(
            f"loss={given!r}: expected a dictionary with a loss for 'box_deltas', for "
            "'class_logits', or for both."
        )
    default = SoftmaxLoss if activation == "softmax" else SigmoidLoss
    losses = {"box_deltas": SmoothL1Loss(), "class_logits": default(), **given}
    for name, base in bases.items():
        if not isinstance(losses[name], base):
            raise ValueError(
                f"the loss of {name!r} is {losses[name]!r}; expected a {base.__name__}, see "
                "ssd_keras.losses."
            )
    if losses["class_logits"].activation != activation:
        raise ValueError(
            f"{losses['class_logits']!r} is for activation="
            f"{losses['class_logits'].activation!r} but the model has activation={activation!r}; "
            "choose a loss for it, or build the model with the other activation."
        )
    return losses


def _as_tuple(neck: Neck | Sequence[Neck] | None) -> tuple[Neck, ...]:
    if neck is None:
        return ()
    return tuple(neck) if isinstance(neck, Sequence) else (neck,)
