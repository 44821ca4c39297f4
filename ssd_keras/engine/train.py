"""Trains a model by a recipe into a run directory; a killed training resumes."""

import dataclasses
import hashlib
from collections.abc import Sequence

import keras

from ssd_keras.core.precision import dtype_policy
from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.pipeline import locate_broken_image, training_dataset
from ssd_keras.data.records import DetectionData
from ssd_keras.doctor.small_objects import small_objects_hint
from ssd_keras.engine.callbacks import (
    Progress,
    SaveRun,
    StopOnNaN,
    TensorBoardLog,
    ValidationAP,
)
from ssd_keras.engine.detector import load_model
from ssd_keras.engine.distributed.devices import Devices, DeviceSession
from ssd_keras.engine.recipes import TrainRecipe
from ssd_keras.engine.run_directory import RunDirectory, TrainingState
from ssd_keras.losses.classification import SigmoidLoss, SoftmaxLoss
from ssd_keras.models.ssd import SSD
from ssd_keras.models.transfer import with_classes
from ssd_keras.optimizers.adamw import AdamW
from ssd_keras.optimizers.caffe_sgd import CaffeSGD
from ssd_keras.optimizers.warm_up import WarmUp
from ssd_keras.presets import PRESETS, from_preset


def train(
    recipe: TrainRecipe,
    train_data: DetectionData,
    validation_data: DetectionData | None,
    output: str,
    *,
    resume: bool = False,
    progress: bool | str = False,
    devices: Devices | None = None,
) -> list[dict]:
    """Trains a model.

    A training that was killed and resumed continues with the same weights, optimizer, schedule,
    images and best AP as one that was never interrupted.

    Args:
        recipe: model, data, augmentation, loss, optimizer and schedule of the training.
        train_data: images to learn from; their class names become the model's.
        validation_data: images for AP, with the same class names. None keeps the last model
            instead of the best.
        output: the RUN directory to write. It must be new or empty unless `resume` is True.
        resume: continue what `output` holds. Default False.
        progress: True shows a progress bar, "lines" one line for each epoch; both warn where
            many objects are too small for the model. Default False.
        devices: `Devices`, for several devices or hosts. Default: one device.

    Returns:
        the history, one dictionary for each epoch; empty in processes other than 0.

    Raises:
        ValueError: `output` is not empty, or holds another training than the one to resume, or
            the two data sets have different classes.

    Example:

        recipe = load_recipe("training/recipes/own_data.py")
        data = load_data("voc:blood_cells@train")
        train(recipe, data, load_data("voc:blood_cells@val"), "runs/cells")
    """
    _check_classes(train_data, validation_data)
    devices = devices or Devices()
    run = RunDirectory(output)
    state = TrainingState()
    if devices.writes:
        state = run.open(recipe, train_data.class_names, resume)
    card = {
        "recipe": hashlib.sha256(recipe.to_json().encode()).hexdigest()[:8],
        "classes": ", ".join(train_data.class_names),
        "number of images": len(train_data),
    }
    welcome = {"epoch": state.epoch, "model_file": state.model_file}
    with devices.open(recipe.batch_size, card, welcome) as session:
        if not devices.writes:
            state = TrainingState(**session.welcome)
        _train(recipe, train_data, validation_data, run, state, progress, session)
    return state.history


def _train(
    recipe: TrainRecipe,
    train_data: DetectionData,
    validation_data: DetectionData | None,
    run: RunDirectory,
    state: TrainingState,
    progress: bool | str,
    session: DeviceSession,
) -> None:
    keras.utils.set_random_seed(recipe.seed)
    epochs, steps_per_epoch = recipe.length(len(train_data))
    if state.epoch >= epochs:
        return
    total_steps = epochs * steps_per_epoch
    if state.epoch:
        model = run.load_state_model(state)
    else:
        model = build_model(recipe, train_data.class_names, total_steps)
        shows_hint = progress and session.devices.writes
        if shows_hint and (hint := small_objects_hint(train_data, model, recipe.match_threshold)):
            print(hint, flush=True)
    encoder = model.target_encoder(
        threshold=recipe.match_threshold, use_boundary_boxes=recipe.use_boundary_boxes
    )
    dataset = training_dataset(
        train_data,
        encoder,
        model.image_size,
        recipe.batch_size,
        augmentation=augmentation_of(recipe),
        use_difficult=recipe.use_difficult,
        seed=recipe.seed,
        start_step=state.epoch * steps_per_epoch,
        part=session.part,
    )
    callbacks: list[keras.callbacks.Callback] = [StopOnNaN()]
    if session.devices.writes:
        run.start(recipe, train_data.class_names)
        if validation_data is not None:
            callbacks.append(ValidationAP(validation_data, recipe.validate_every, epochs))
        callbacks += [
            SaveRun(run, state, recipe.validate_every, epochs),
            TensorBoardLog(run.file("tensorboard")),
            Progress(total_steps, state.epoch * steps_per_epoch, progress),
        ]
    with locate_broken_image(train_data):
        model.fit(
            dataset,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            initial_epoch=state.epoch,
            callbacks=callbacks + session.callbacks(),
            shuffle=False,
            verbose=0,
        )


def _check_classes(train_data: DetectionData, validation_data: DetectionData | None) -> None:
    if validation_data is not None and validation_data.class_names != train_data.class_names:
        raise ValueError(
            f"the validation data have the classes {', '.join(validation_data.class_names)} but "
            f"the training data {', '.join(train_data.class_names)}; load the validation data "
            "with class_names=train_data.class_names."
        )


def build_model(recipe: TrainRecipe, class_names: Sequence[str], total_steps: int) -> SSD:
    """Builds and compiles the model of a recipe."""
    with dtype_policy(recipe.precision):
        model = initial_model(recipe, class_names)
    model.backbone.trainable = recipe.backbone_learning_rate > 0
    class_loss = SoftmaxLoss if model.activation == "softmax" else SigmoidLoss
    model.compile(
        optimizer=make_optimizer(
            recipe, total_steps, [layer.name for layer in model.backbone.layers]
        ),
        loss={"class_logits": class_loss(recipe.negatives_per_positive, recipe.min_negatives)},
        # Without it, JAX would run each operation of a step by itself.
        jit_compile=recipe.jit_compile or keras.backend.backend() == "jax",
    )
    return model


def initial_model(recipe: TrainRecipe, class_names: Sequence[str]) -> SSD:
    """Returns the uncompiled model that a training starts from: a preset, or a trained model."""
    if recipe.preset in PRESETS:
        options = dict(recipe.model_options)
        if recipe.backbone_weights:
            options["backbone_weights"] = recipe.backbone_weights
        return from_preset(recipe.preset, class_names, **options)
    model = with_classes(load_model(recipe.preset), class_names, **recipe.model_options)
    if model.dtype_policy.name != recipe.precision:
        raise ValueError(
            f"precision={recipe.precision!r} does not fit {recipe.preset!r}, which is "
            f"{model.dtype_policy.name}; set the same precision."
        )
    return model


def make_optimizer(
    recipe: TrainRecipe, total_steps: int, backbone_layers: Sequence[str] = ()
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a recipe with its learning rate schedule."""
    boundaries = [round(share * total_steps) for share in recipe.decay_steps]
    learning_rate = WarmUp(
        recipe.learning_rate,
        total_steps,
        recipe.warmup(total_steps),
        (boundaries or [total_steps]) if recipe.schedule == "steps" else (),
    )
    options: dict = {"global_clipnorm": recipe.gradient_norm} if recipe.gradient_norm else {}
    if recipe.backbone_learning_rate != 1:
        options["rates"] = dict.fromkeys(backbone_layers, recipe.backbone_learning_rate)
    if recipe.optimizer == "adamw":
        return AdamW(learning_rate, recipe.weight_decay, **options)
    return CaffeSGD(learning_rate, recipe.momentum, l2_decay=recipe.weight_decay, **options)


def augmentation_of(recipe: TrainRecipe) -> Augmentation:
    """Returns the augmentation of a recipe: its fields of the same names."""
    fields = dataclasses.fields(Augmentation)
    names = [field.name for field in fields if hasattr(recipe, field.name)]
    return Augmentation(**{name: getattr(recipe, name) for name in names})
