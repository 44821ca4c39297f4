"""The groups of a recipe: frozen records of a few values each, with the paper's as defaults."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np

from ssd_keras.core.records import PartOf, check_ranges, complete_parts, default_part, plain
from ssd_keras.data.records import DetectionData
from ssd_keras.data.repeat_factors import repeat_factors
from ssd_keras.presets import PRESETS, TRAINED_OPTIONS, check_name

LENGTHS = ("epochs", "steps", "minutes")


@dataclasses.dataclass(frozen=True)
class ModelRecipe:
    """The model that is trained.

    Args:
        preset: name of the model, see `ssd-keras info presets`; or the path or hub address of a
            trained one to start from: its heads are kept by class name, see
            `ssd_keras.models.with_classes`.
        options: arguments of the preset's builder that replace the preset's own; of a trained
            model those of `with_classes`. Default none.
        backbone_weights: "random" (default), "imagenet", or the path of a file of weights or of
            an ImageNet classifier.
    """

    preset: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backbone_weights: str = "random"

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", plain(self.options, "options"))
        if self.preset in PRESETS:
            return
        check_name(self.preset)
        if self.backbone_weights != "random":
            raise ValueError(
                f"backbone_weights={self.backbone_weights!r} is for presets; {self.preset!r} is "
                "a trained model: set model.backbone_weights=random."
            )
        unknown = sorted(self.options.keys() - set(TRAINED_OPTIONS))
        if unknown:
            raise ValueError(
                f"options has {unknown[0]!r}, but {self.preset!r} is a trained model, which takes "
                f"only {', '.join(TRAINED_OPTIONS)}: set model.options={{}}."
            )


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """What is learned from the data.

    Args:
        use_difficult: learn from objects flagged as difficult. Default True.
        max_objects: for assigners that look at predictions, the number of objects to which each
            image is padded; those beyond it are dropped and named. Default None: the largest
            number in the data. Inputs are padded to four times that with `augmentation.mosaic`,
            twice with `augmentation.mixup`.
        sampling: "uniform" (default), each image once an epoch; or "repeat_factor" (LVIS, arXiv
            1908.03195v2, appendix B.2), images of rare classes more often and others less, in
            epochs of the same length.
        repeat_threshold: with "repeat_factor", the share of the images, above 0 and at most 1,
            below which a class is rare: one that is in the share f of them counts
            sqrt(repeat_threshold / f) times. Default 0.5.
        source_weights: how often the images of each data set come relative to the others, such as
            [2, 1], in the order of the training data, those of a data.toml one by one. Default
            none: all the same.
    """

    use_difficult: bool = True
    max_objects: int | None = None
    sampling: Literal["uniform", "repeat_factor"] = "uniform"
    repeat_threshold: float = 0.5
    source_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.max_objects is not None:
            check_ranges(self, positive=["max_objects"])
        check_ranges(self, positive=["repeat_threshold"], shares=["repeat_threshold"])
        if not all(weight > 0 for weight in self.source_weights):
            raise ValueError(f"source_weights={self.source_weights} must be above 0.")

    def repeat_factors(self, data: DetectionData) -> np.ndarray | None:
        """Returns how often each image comes relative to the others, or None: all the same."""
        is_uniform = self.sampling == "uniform"
        if is_uniform and not self.source_weights:
            return None
        threshold = None if is_uniform else self.repeat_threshold
        return repeat_factors(data, threshold, self.source_weights, self.use_difficult)


@dataclasses.dataclass(frozen=True)
class LossRecipe:
    """The losses, each a table with a type and its options.

    Args:
        boxes: loss of boxes. Default "smooth_l1".
        classes: loss of classes; its activation becomes the model's. "softmax" and "sigmoid" are
            the paper's, and follow the activation of a trained model. Default "softmax".
        box_weight: factor of the loss of boxes. Default 1.
    """

    boxes: Annotated[Mapping[str, Any], PartOf("box_loss")] = default_part("smooth_l1")
    classes: Annotated[Mapping[str, Any], PartOf("class_loss")] = default_part("softmax")
    box_weight: float = 1.0

    def __post_init__(self) -> None:
        complete_parts(self)
        check_ranges(self, positive=["box_weight"])


@dataclasses.dataclass(frozen=True)
class OptimizerRecipe:
    """The optimizer.

    Args:
        name: "caffe_sgd" (default) or "adamw".
        learning_rate: after the warm-up. Default 1e-3.
        momentum: of caffe_sgd, 0..1. Default 0.9.
        weight_decay: of kernels. Default 5e-4.
        gradient_norm: gradients are scaled down to this norm. Default 0: they are left.
        backbone_learning_rate: learning rate of the backbone relative to the rest; 0 freezes it,
            including the statistics of its batch normalisation. Default 1.
        layer_decay: factor of the backbone's learning rate from each stage to the one before, 0..1;
            a stage is the layers of one resolution. Default 1.
        frozen_until: name of a layer of the backbone: it and all before it keep their weights and
            statistics. Default "": all layers learn.
        ema_decay: 0..1, the largest decay of the exponential moving average of the weights, such as
            0.998, see `ssd_keras.optimizers.AdamW`; the averages are validated and become
            model.keras. Default 0: the weights themselves.
    """

    name: Literal["caffe_sgd", "adamw"] = "caffe_sgd"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    gradient_norm: float = 0.0
    backbone_learning_rate: float = 1.0
    layer_decay: float = 1.0
    frozen_until: str = ""
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            positive=["learning_rate"],
            not_negative=["weight_decay", "gradient_norm", "backbone_learning_rate"],
            shares=["momentum", "layer_decay", "ema_decay"],
        )


@dataclasses.dataclass(frozen=True)
class ScheduleRecipe:
    """The length of the training, of which one is given, and the course of the learning rate.

    Args:
        name: "steps" (default) divides the learning rate by 10 at `decay_steps`; "cosine" lowers
            it along half a cosine to 0; "flat_cosine" does so from the middle of the training on.
        epochs: passes over the images. Default 0.
        steps: training steps. Default 0.
        minutes: the whole training, validations and saving included; the number of steps is
            fixed after a short measurement. Default 0.
        decay_steps: shares of the training, 0..1, after which the learning rate is divided.
            Default none.
        warmup_steps: linear rise at the start, at most a third of all steps. Default 0.
    """

    name: Literal["steps", "cosine", "flat_cosine"] = "steps"
    epochs: int = 0
    steps: int = 0
    minutes: float = 0.0
    decay_steps: tuple[float, ...] = ()
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, not_negative=[*LENGTHS, "warmup_steps"])
        if not all(0 < share < 1 for share in self.decay_steps):
            raise ValueError(
                f"decay_steps={self.decay_steps} must be shares of the training between 0 and 1, "
                "for example 0.67, not numbers of steps."
            )
        lengths = {name: getattr(self, name) for name in LENGTHS}
        if sum(value > 0 for value in lengths.values()) != 1:
            given = ", ".join(f"{name}={value:g}" for name, value in lengths.items())
            raise ValueError(f"{given}: exactly one must be above 0.")

    def warmup(self, total_steps: int) -> int:
        """Returns the number of warm-up steps: in a short training at most a third of all."""
        return min(self.warmup_steps, total_steps // 3)


@dataclasses.dataclass(frozen=True)
class RunRecipe:
    """How the training runs.

    Args:
        batch_size: images of a step. Default 32.
        precision: "float32" (default), "mixed_bfloat16" or "mixed_float16".
        jit_compile: compile the step with XLA. Default False; JAX always does.
        validate_every: epochs between validations. A killed training resumes from the last one.
            Default 1.
        ap_by_class: validations also write the AP of each class into history.csv and for
            TensorBoard, as val_AP/NAME. Default False.
        seed: seed of every random choice. Default 0.
    """

    batch_size: int = 32
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit_compile: bool = False
    validate_every: int = 1
    ap_by_class: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, positive=["batch_size", "validate_every"])
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed} must be between 0 and {2**32 - 1}.")


@dataclasses.dataclass(frozen=True)
class RecipeRecord:
    """What is known about a recipe as it is published; a changed recipe has none.

    Args:
        title: what it trains, in one line.
        notes: what to know and to change before a training.
        paper: the paper, with sections and tables.
        command: the command that trains it.
        hardware: what it ran on; "" where it was not run.
        hours: duration on that hardware, or None.
        metric: name of the expected metric, with its data.
        expected: value of the metric in percent, or None.
        tolerance: how far a training may be off, or None.
        source: who reports the expected value.
        result_file: address of the file with the measured results.
    """

    title: str = ""
    notes: str = ""
    paper: str = ""
    command: str = ""
    hardware: str = ""
    hours: float | None = None
    metric: str = ""
    expected: float | None = None
    tolerance: float | None = None
    source: str = ""
    result_file: str = ""
