"""Recipes: every choice of a training in one frozen record, read from a file."""

import dataclasses
import json
import os
import runpy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssd_keras.presets import PRESETS, TRAINED_OPTIONS

CHOICES = {
    "optimizer": ("caffe_sgd", "adamw"),
    "schedule": ("steps", "cosine"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "color_space": ("matrix", "hsv"),
}
POSITIVE = ("batch_size", "learning_rate", "validate_every", "zoom_out_max")
NOT_NEGATIVE = (
    "epochs", "steps", "weight_decay", "gradient_norm", "warmup_steps",
    "negatives_per_positive", "min_negatives", "backbone_learning_rate",
)  # fmt: skip
SHARES = ("momentum", "match_threshold", "zoom_out_probability")


@dataclasses.dataclass(frozen=True)
class TrainRecipe:
    """Every choice of a training. The defaults are the paper's.

    Args:
        preset: name of the model, see `ssd_keras.presets`; or the path of a trained one to start
            from: its heads are kept by class name, see `ssd_keras.models.with_classes`.
        model_options: arguments of the preset's builder that replace the preset's own.
        backbone_weights: "imagenet", the path of a weights file, or "" for random weights.
        backbone_learning_rate: learning rate of the backbone relative to the rest; 0 freezes it,
            including the statistics of its batch normalisation. Default 1.
        epochs: passes over the images. Default 0: `steps` counts.
        steps: training steps, used where `epochs` is 0.
        batch_size: images of a step. Default 32.
        optimizer: "caffe_sgd" (default) or "adamw".
        learning_rate: after the warm-up. Default 1e-3.
        momentum: of caffe_sgd. Default 0.9.
        weight_decay: of kernels. Default 5e-4.
        gradient_norm: gradients are scaled down to this norm; 0 (default) leaves them.
        schedule: "steps" (default) or "cosine".
        decay_steps: shares of the training, 0..1, after which the schedule "steps" divides the
            rate by 10.
        warmup_steps: linear rise at the start, at most a third of all steps. Default 0.
        precision: "float32" (default), "mixed_bfloat16" or "mixed_float16".
        jit_compile: compile the step with XLA. Default False.
        negatives_per_positive: hard negatives for one match. Default 3.
        min_negatives: minimum number of hard negatives of an image. Default 0.
        match_threshold: IoU from which default boxes match, 0..1. Default 0.5.
        use_boundary_boxes: learn with default boxes that cross the border. Default True.
        use_difficult: learn from objects flagged as difficult. Default True.
        photometric, color_space: see `ssd_keras.Augmentation`.
        zoom_out, zoom_out_probability, zoom_out_max: see there.
        crop, flip, flip_vertical, random_resize: see there.
        validate_every: epochs between validations. A killed training resumes from the last one.
            Default 1.
        seed: seed of every random choice. Default 0.

    Raises:
        ValueError: a value is out of range.

    Example:

    >>> TrainRecipe(preset="ssd300_vgg16_voc", steps=120_000).batch_size
    32
    """

    preset: str
    model_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backbone_weights: str = ""
    backbone_learning_rate: float = 1.0
    epochs: int = 0
    steps: int = 0
    batch_size: int = 32
    optimizer: str = "caffe_sgd"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    gradient_norm: float = 0.0
    schedule: str = "steps"
    decay_steps: tuple[float, ...] = ()
    warmup_steps: int = 0
    precision: str = "float32"
    jit_compile: bool = False
    negatives_per_positive: float = 3.0
    min_negatives: int = 0
    match_threshold: float = 0.5
    use_boundary_boxes: bool = True
    use_difficult: bool = True
    photometric: bool = True
    color_space: str = "matrix"
    zoom_out: bool = True
    zoom_out_probability: float = 0.5
    zoom_out_max: float = 4.0
    crop: bool = True
    flip: bool = True
    flip_vertical: bool = False
    random_resize: bool = False
    validate_every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_preset()
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown; choose one of "
                    f"{', '.join(choices)}."
                )
        for name in POSITIVE:  # `not >` because NaN must not pass
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0.")
        for name in NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be 0 or more.")
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must be between 0 and 1.")
        if not all(0 < share < 1 for share in self.decay_steps):
            raise ValueError(
                f"decay_steps={self.decay_steps} must be shares of the training between 0 and 1, "
                "for example 2/3, not numbers of steps."
            )
        if (self.epochs > 0) == (self.steps > 0):
            raise ValueError(
                f"epochs={self.epochs} and steps={self.steps}: exactly one must be above 0."
            )

    def _check_preset(self) -> None:
        if self.preset in PRESETS:
            return
        if not os.path.exists(self.preset):
            raise ValueError(
                f"preset={self.preset!r} is unknown; choose one of {', '.join(PRESETS)}, or pass "
                "the path of a trained model."
            )
        if self.backbone_weights:
            raise ValueError(
                f"backbone_weights={self.backbone_weights!r} is for presets; {self.preset!r} is "
                "a trained model: set backbone_weights= (nothing)."
            )
        unknown = sorted(self.model_options.keys() - set(TRAINED_OPTIONS))
        if unknown:
            raise ValueError(
                f"model_options has {unknown[0]!r}, but {self.preset!r} is a trained model, "
                f"which takes only {', '.join(TRAINED_OPTIONS)}: set model_options={{}}."
            )

    def length(self, num_images: int) -> tuple[int, int]:
        """Returns the length of the training.

        Args:
            num_images: number of training images.

        Returns:
            epochs, and steps of each epoch.

        Example:

        >>> TrainRecipe(preset="ssd300_vgg16_voc", steps=100, batch_size=32).length(200)
        (17, 6)
        """
        steps_per_epoch = max(1, num_images // self.batch_size)
        return self.epochs or -(-self.steps // steps_per_epoch), steps_per_epoch

    def warmup(self, total_steps: int) -> int:
        """Returns the number of warm-up steps: in a short training at most a third of all steps.

        Args:
            total_steps: steps of the whole training.

        Returns:
            `warmup_steps`, or a third of all steps, rounded down.

        Example:

        >>> TrainRecipe(preset="ssd300_vgg16_voc", epochs=2, warmup_steps=50).warmup(31)
        10
        """
        return min(self.warmup_steps, total_steps // 3)

    def replace(self, **changes: Any) -> "TrainRecipe":
        """Returns a copy with other values.

        Args:
            **changes: new values by field.

        Returns:
            `TrainRecipe`.
        """
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """Returns the record as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "TrainRecipe":
        """Builds the record from the text of `to_json`."""
        values = json.loads(text)
        values["decay_steps"] = tuple(values["decay_steps"])
        return cls(**values)


def load_recipe(path: str) -> TrainRecipe:
    """Reads a recipe file: Python that assigns a `TrainRecipe` to the name RECIPE.

    Args:
        path: the file. It is executed: load only recipes that you trust.

    Returns:
        `TrainRecipe`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file fails or defines no RECIPE.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"recipe {path!r} does not exist; see training/recipes.")
    try:
        recipe = runpy.run_path(path).get("RECIPE")
    except Exception as error:
        raise ValueError(f"recipe {path!r} cannot be run: {error}") from error
    if not isinstance(recipe, TrainRecipe):
        raise ValueError(f"recipe {path!r} must assign a TrainRecipe to the name RECIPE.")
    return recipe


def override(recipe: TrainRecipe, assignments: Sequence[str]) -> TrainRecipe:
    """Applies "name=value" texts; names must exist and values have the type of the field."""
    fields = {field.name: field for field in dataclasses.fields(recipe)}
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        owner, _, option = name.partition(".")
        names_option = owner == "model_options" and option
        if not equals or not (names_option or name in fields):
            raise ValueError(
                f"--set {assignment!r} is not understood; write name=value with one of "
                f"{', '.join(fields)} (model_options.NAME=JSON)."
            )
        if names_option:
            options = dict(changes.get(owner, recipe.model_options))
            changes[owner] = {**options, option: _parse(assignment, text, "JSON", json.loads)}
        elif name == "model_options":
            changes[name] = _parse(assignment, text, "a JSON object", _json_object)
        else:
            changes[name] = _parse_field(assignment, text, getattr(recipe, name))
    for name, other in (("epochs", "steps"), ("steps", "epochs")):
        if changes.get(name) and not changes.get(other):
            changes[other] = 0
    return recipe.replace(**changes)


def _parse_field(assignment: str, text: str, current: Any) -> Any:
    """Converts the text to the type of the current value."""
    if isinstance(current, bool):
        values = {"true": True, "false": False}
        return _parse(assignment, text.lower(), "true or false", values.__getitem__)
    if isinstance(current, tuple):
        parts = [part for part in text.split(",") if part]
        return tuple(_parse(assignment, part, "numbers with commas", float) for part in parts)
    if isinstance(current, int):
        return _parse(assignment, text, "a whole number", int)
    if isinstance(current, float):
        return _parse(assignment, text, "a number", float)
    return text


def _json_object(text: str) -> dict:
    value = json.loads(text or "{}")
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def _parse(assignment: str, text: str, expected: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except (ValueError, KeyError) as error:
        raise ValueError(f"--set {assignment!r}: expected {expected}, got {text!r}.") from error
