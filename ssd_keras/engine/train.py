"""Trains a model by a recipe into a run folder; a killed training resumes."""

import contextlib
import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from ssd_keras.core.display_thresholds import DEFAULT
from ssd_keras.core.hub import is_hub_address
from ssd_keras.core.origin import Origin
from ssd_keras.core.parts import find_part, make_part, parts
from ssd_keras.core.precision import dtype_policy
from ssd_keras.core.random_state import kept_random_state
from ssd_keras.core.terminal import shows_progress
from ssd_keras.data.pipeline import locate_broken_image, training_dataset
from ssd_keras.data.records import DetectionData
from ssd_keras.data.training_checks import check_objects, class_differences
from ssd_keras.data.workers.service import DataWorkers
from ssd_keras.doctor.small_objects import small_objects_hint
from ssd_keras.engine import training_time
from ssd_keras.engine.callbacks import TITLE, SaveRun, StopOnNaN, ValidationAP, check_monitors
from ssd_keras.engine.distributed.devices import Devices
from ssd_keras.engine.distributed.session import Session, check_for_several_hosts, check_same
from ssd_keras.engine.preemption import SaveOnNotice
from ssd_keras.engine.recipes import TrainRecipe, load_recipe, recipe_names
from ssd_keras.engine.run_directory import RunDirectory, TrainingState
from ssd_keras.engine.run_lock import run_lock
from ssd_keras.engine.training_logs import LiveCurves, Progress, TensorBoardLog
from ssd_keras.engine.training_optimizer import freeze_backbone, make_optimizer
from ssd_keras.losses.classification import ACTIVATIONS
from ssd_keras.models.ssd import SSD
from ssd_keras.optimizers.weight_average import averaging_optimizer
from ssd_keras.presets import PRESETS, from_preset, is_trained
from ssd_keras.version import __version__


def train(
    recipe: TrainRecipe,
    train_data: DetectionData,
    validation_data: DetectionData | None,
    output: str,
    *,
    resume: bool = False,
    progress: bool | None = None,
    devices: Devices | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    stop_when: Callable[[], bool] | None = None,
    data_workers: int | str = 0,
) -> list[dict]:
    """Trains a model.

    A training that was killed and resumed continues with the same weights, optimizer, schedule,
    images and best AP as one that was never interrupted. Python's and NumPy's random states are
    as before when it ends.

    Args:
        recipe: model, data, augmentation, loss, optimizer and schedule of the training.
        train_data: images to learn from; their class names become the model's.
        validation_data: images for AP; classes are compared by name. None keeps the last model
            instead of the best.
        output: the RUN folder to write. It must be new or empty unless `resume` is True.
        resume: continue what `output` holds: from the start where it is empty, and not at all
            where the training is finished. Default False.
        progress: True shows a progress bar, in a notebook the curves too; False nothing. Default
            None: a bar in terminals and notebooks, elsewhere a line after each epoch and at least
            each minute, on stderr. All warn where many objects are too small for the model.
        devices: `Devices`, for several devices or hosts. Default: one device.
        callbacks: Keras callbacks, which see the weights of the last step, those that
            `averaged_weights` gives apart, and "val_AP" and "val_AP50" in the logs of epochs with
            a validation; others have none, so that the patience of
            `EarlyStopping("val_AP", mode="max", patience=5)` counts validations. When one stops
            the training, model, state and history are written. They keep no state: those of a
            resumed training start again. Default none; only none for several hosts.
        stop_when: called without arguments after each step. Where it returns True, the state is
            saved and the training ends with `Preempted`; resumed, it learns what one that was
            never stopped learns. Default None: never, and in several processes after SIGTERM,
            which JAX receives.
        data_workers: number of processes to start here that read and augment the images, or
            "HOST:PORT" of a dispatcher that `ssd-keras data serve` started. The images are the
            same. Default 0: threads of this process.

    Returns:
        the history, one dictionary for each epoch; empty in processes other than 0.

    Raises:
        ValueError: `output` is not empty, is in use, or holds another training than the one to
            resume; a data set has no object, the two have no class in common, several hosts have
            callbacks, or a callback monitors what is never logged.
        Preempted: `stop_when` returned True, or a process of several received SIGTERM.

    Example:

        recipe = load_recipe("own_data")
        data = load_data("voc:blood_cells@train")
        train(recipe, data, load_data("voc:blood_cells@val"), "runs/cells")
    """
    began = training_time.clock()
    check_objects(train_data, "training data", recipe.data.use_difficult)
    recipe.data.repeat_factors(train_data)  # refuses another number of weights than of data sets
    devices = devices or Devices()
    if not devices.is_one_process:
        check_for_several_hosts(recipe, callbacks)
    check_monitors(callbacks, validation_data is not None)
    run, state, validation = RunDirectory(output), TrainingState(), None
    show: bool | str = shows_progress(progress) or (progress is None and "lines")
    if validation_data is not None:
        validation = ValidationAP(
            validation_data, recipe.run.validate_every, ap_by_class=recipe.run.ap_by_class
        )
        class_differences(validation_data, train_data.class_names, TITLE)
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(devices.connect(recipe.run.batch_size))
        check_same(group, recipe, train_data, validation_data, devices)

        def start() -> dict[str, Any]:
            stack.enter_context(run_lock(output))
            state = run.open(recipe, train_data.class_names, resume)
            if resume:
                run.check_data(train_data.origin)
            return dataclasses.asdict(state)

        state = TrainingState(**group.from_first(start))
        stack.enter_context(devices.scope(recipe.run.batch_size, group))
        stack.enter_context(kept_random_state(recipe.run.seed))
        stack.enter_context(_without_missing_scores())
        workers = stack.enter_context(DataWorkers(data_workers))
        session = Session(devices, group, workers, stop_when)
        _train(recipe, train_data, validation, run, state, show, session, began, callbacks)
    return state.history if group.writes else []


@contextlib.contextmanager
def _without_missing_scores() -> Iterator[None]:
    """Ignores Keras' warnings of callbacks that miss the AP of an epoch without a validation."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*\bval_AP(50)?\b.*\bavailable\b", UserWarning)
        yield


def _train(
    recipe: TrainRecipe,
    train_data: DetectionData,
    validation: ValidationAP | None,
    run: RunDirectory,
    state: TrainingState,
    progress: bool | str,
    session: Session,
    began: float,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    epochs, steps_per_epoch = state.length or recipe.length(len(train_data))
    if 0 < epochs <= state.epoch:
        if progress:
            print(f"the training in {run.path!r} is finished: nothing is left to do", flush=True)
        return
    model = _first_model(recipe, train_data, run, state, progress and session.group.writes)
    if not epochs:
        data = validation and validation.data
        epochs, steps_per_epoch = measured_length(
            recipe, model, train_data, data, began, session, progress
        )
        state.length = (epochs, steps_per_epoch)
        run.start(recipe, train_data.class_names, model.origin)
        run.write_state(state)
    total_steps = epochs * steps_per_epoch
    if not state.model_file:
        compile_model(model, recipe, total_steps)
    if optimizer := averaging_optimizer(model):
        optimizer.overwrites_weights = False  # between two calls of `fit`, see parts_of_training
    if session.group.writes:
        run.start(recipe, train_data.class_names, model.origin)
    if validation is not None:
        validation.last_epoch, validation.group = epochs, session.group
    writers: list[keras.callbacks.Callback] = [
        *callbacks,  # behind the AP, which they see, and before what is written when they stop
        SaveRun(run, state, recipe.run.validate_every, epochs),
        TensorBoardLog(run.file("tensorboard"), validation),
        *([LiveCurves()] if progress is True else []),
    ]
    for first, last in parts_of_training(state, epochs, steps_per_epoch):
        start_step = first * steps_per_epoch + state.step
        own = [StopOnNaN(), *([validation] if validation else [])]
        save = SaveOnNotice(session.has_notice, run, state, session.group, epochs, steps_per_epoch)
        if session.group.writes:
            own += [*writers, Progress(total_steps, start_step, progress)]
        with locate_broken_image(train_data), session.workers.errors():
            model.fit(
                dataset_of(recipe, train_data, model, session, start_step, total_steps),
                steps_per_epoch=steps_per_epoch - state.step,
                epochs=last,
                initial_epoch=first,
                callbacks=[*own, *session.callbacks(), save],
                shuffle=False,
                verbose=0,
            )
        state.step = 0
        if model.stop_training:
            return


def parts_of_training(state: TrainingState, epochs: int, steps: int) -> list[tuple[int, int]]:
    """Returns first and last epoch of each call of `fit`: the rest of an epoch has its own."""
    if state.step >= steps:
        raise ValueError(f"the state to resume has step {state.step} of an epoch of {steps} steps")
    if not state.step:
        return [(state.epoch, epochs)]
    parts = [(state.epoch, state.epoch + 1), (state.epoch + 1, epochs)]
    return [(first, last) for first, last in parts if first < last]


def _first_model(
    recipe: TrainRecipe,
    train_data: DetectionData,
    run: RunDirectory,
    state: TrainingState,
    shows_hint: bool | str,
) -> SSD:
    """Returns the model of a state, compiled, or that of a new training."""
    if not state.model_file:
        return _new_model(recipe, train_data, shows_hint)
    model = run.load_state_model(state)
    if model.origin:  # the same data, in the words of this call
        model.origin = dataclasses.replace(model.origin, data=train_data.origin)
    return model


def _new_model(recipe: TrainRecipe, data: DetectionData, shows_hint: bool | str) -> SSD:
    """Returns the model of a new training; prints a hint if many objects are too small for it."""
    with dtype_policy(recipe.run.precision):
        model = initial_model(recipe, data.class_names)
    model.origin = origin_of(recipe, data, model)
    if shows_hint and (hint := small_objects_hint(data, model, match_threshold(recipe))):
        print(hint, flush=True)
    return model


def measured_length(
    recipe: TrainRecipe,
    model: SSD,
    train_data: DetectionData,
    validation_data: DetectionData | None,
    began: float,
    session: Session,
    progress: bool | str,
) -> tuple[int, int]:
    """Returns epochs, and steps of each, of a training by time that began at `began`."""
    seconds, every = 60 * recipe.schedule.minutes, recipe.run.validate_every
    compile_model(model, recipe, training_time.MAX_STEPS)
    with locate_broken_image(train_data), session.workers.errors():
        durations = training_time.measure(
            model,
            dataset_of(recipe, train_data, model, session),
            validation_data,
            seconds,
            session.callbacks(),
        )
    left = began + seconds - training_time.clock() - durations.start
    steps_per_epoch = max(1, len(train_data) // recipe.run.batch_size)
    steps = training_time.steps_within(left, durations, steps_per_epoch, every)
    if steps < 1:
        needed = (seconds - left + durations.step + durations.validation) / 60
        raise ValueError(
            f"schedule.minutes={recipe.schedule.minutes:g} is too short: the start, a step and a "
            f"validation take {needed:.1f} minutes; allow more."
        )
    epochs, steps_per_epoch = training_time.whole_epochs(steps, steps_per_epoch)
    if progress:
        print(
            f"{recipe.schedule.minutes:g} minutes: {epochs} epochs of {steps_per_epoch} steps; a "
            f"step takes {durations.step:.3g} s, a validation {durations.validation:.3g} s",
            flush=True,
        )
    return epochs, steps_per_epoch


def origin_of(recipe: TrainRecipe, data: DetectionData, model: SSD) -> Origin:
    """Returns the origin of a model that is trained; its own becomes the parent."""
    equal = (name for name in recipe_names() if load_recipe(name) == recipe)
    digest = hashlib.sha256(recipe.to_toml().encode()).hexdigest()
    parent = model.origin
    if parent is None and is_trained(recipe.model.preset):
        name = recipe.model.preset
        parent = Origin(name if is_hub_address(name) else os.path.basename(os.path.normpath(name)))
    return Origin(
        model.name,
        data=data.origin,
        recipe=next(equal, f"sha256:{digest}"),
        made_with=f"ssd_keras {__version__}",
        parent=parent,
    )


def dataset_of(
    recipe: TrainRecipe,
    data: DetectionData,
    model: SSD,
    session: Session,
    start_step: int = 0,
    total_steps: int | None = None,
) -> tf.data.Dataset:
    """Returns the batches of a training from a step on; a measurement has no total."""
    return training_dataset(
        data,
        model.target_encoder(),
        model.image_size,
        recipe.run.batch_size,
        augmentation=recipe.augmentation,
        use_difficult=recipe.data.use_difficult,
        seed=recipe.run.seed,
        start_step=start_step,
        part=(session.group.index, session.group.size),
        max_objects=recipe.data.max_objects,
        repeat_factors=recipe.data.repeat_factors(data),
        total_steps=total_steps,
        workers=session.workers,
    )


def match_threshold(recipe: TrainRecipe) -> float:
    """Returns the IoU from which default boxes match; 0 where the assigner has no threshold."""
    names = ("threshold", "matched_threshold")
    return max(recipe.assigner.get(name, 0.0) for name in names)


def compile_model(model: SSD, recipe: TrainRecipe, total_steps: int) -> None:
    """Compiles the model of a recipe; its learning rate falls over `total_steps`."""
    freeze_backbone(model.backbone, recipe.optimizer)
    model.compile(
        optimizer=make_optimizer(recipe, total_steps, model.backbone),
        loss={
            "box_deltas": make_part("box_loss", recipe.loss.boxes, "loss.boxes"),
            "class_logits": make_part("class_loss", class_loss_of(recipe, model), "loss.classes"),
        },
        loss_weights={"box_deltas": recipe.loss.box_weight, "class_logits": 1.0},
        # Without it, JAX would run each operation of a step by itself.
        jit_compile=recipe.run.jit_compile or keras.backend.backend() == "jax",
    )


def class_loss_of(recipe: TrainRecipe, model: SSD) -> dict[str, Any]:
    """Returns the table of the class loss: the paper's follows the model's activation."""
    table = dict(recipe.loss.classes)
    return {**table, "type": model.activation} if table["type"] in ACTIVATIONS else table


def initial_model(recipe: TrainRecipe, class_names: Sequence[str]) -> SSD:
    """Returns the uncompiled model that a training starts from: a preset, or a trained model."""
    preset = recipe.model.preset
    options = dict(recipe.model.options)
    activation = find_part("class_loss", recipe.loss.classes["type"]).activation
    if not is_trained(preset):
        if recipe.model.backbone_weights != "random":
            options["backbone_weights"] = recipe.model.backbone_weights
        options.setdefault("activation", activation)
    model = from_preset(preset, class_names, **options)
    if preset not in PRESETS:
        _check_precision(model, recipe)
    known = [n for n, loss in parts("class_loss").items() if loss.activation == model.activation]
    if class_loss_of(recipe, model)["type"] not in known:
        raise ValueError(
            f"loss.classes={recipe.loss.classes['type']!r} is for {activation} scores, but those "
            f"of {preset!r} are {model.activation}; set loss.classes to one of {', '.join(known)}."
        )
    model.assigner = make_part("assigner", recipe.assigner, "assigner")
    model.display_threshold = DEFAULT  # a parent's thresholds are for its scores
    return model


def _check_precision(model: SSD, recipe: TrainRecipe) -> None:
    if model.dtype_policy.name != recipe.run.precision:
        raise ValueError(
            f"run.precision={recipe.run.precision!r} does not fit {recipe.model.preset!r}, which "
            f"is {model.dtype_policy.name}; set the same precision."
        )
