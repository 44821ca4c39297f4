"""The optimizer of a recipe: its learning rates, and the layers that do not learn."""

import keras

from ssd_keras.core.text import did_you_mean, one_line
from ssd_keras.engine.recipe_groups import OptimizerRecipe, ScheduleRecipe
from ssd_keras.engine.recipes import TrainRecipe
from ssd_keras.optimizers.adamw import AdamW
from ssd_keras.optimizers.caffe_sgd import CaffeSGD
from ssd_keras.optimizers.warm_up import WarmUp


def make_optimizer(
    recipe: TrainRecipe, total_steps: int, backbone: keras.Model | None = None
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a recipe with its learning rate schedule."""
    chosen = recipe.optimizer
    learning_rate = learning_rate_schedule(chosen.learning_rate, recipe.schedule, total_steps)
    options: dict = {"global_clipnorm": chosen.gradient_norm} if chosen.gradient_norm else {}
    options["ema_decay"] = chosen.ema_decay
    if backbone and (chosen.backbone_learning_rate, chosen.layer_decay) != (1, 1):
        options["rates"] = backbone_rates(backbone, chosen)
    if chosen.name == "adamw":
        return AdamW(learning_rate, chosen.weight_decay, **options)
    return CaffeSGD(learning_rate, chosen.momentum, l2_decay=chosen.weight_decay, **options)


def learning_rate_schedule(peak: float, schedule: ScheduleRecipe, total_steps: int) -> WarmUp:
    """Returns the course of the learning rate over a training."""
    boundaries = [round(share * total_steps) for share in schedule.decay_steps] or [total_steps]
    return WarmUp(
        peak,
        total_steps,
        schedule.warmup(total_steps),
        boundaries if schedule.name == "steps" else (),
        flat_steps=total_steps // 2 if schedule.name == "flat_cosine" else 0,
    )


def backbone_rates(backbone: keras.Model, chosen: OptimizerRecipe) -> dict[str, float]:
    """Returns the factor of the learning rate of each layer: less for a finer resolution."""
    heights = {layer.name: layer.output.shape[1] for layer in backbone.layers if layer.weights}
    stages = sorted(set(heights.values()))  # from the last one
    rate, decay = chosen.backbone_learning_rate, chosen.layer_decay
    return {name: rate * decay ** stages.index(height) for name, height in heights.items()}


def freeze_backbone(backbone: keras.Model, chosen: OptimizerRecipe) -> None:
    """Freezes the backbone, or its layers up to `frozen_until`; the others learn."""
    names, last = [layer.name for layer in backbone.layers], chosen.frozen_until
    if last and last not in names:
        with_weights = [layer.name for layer in backbone.layers if layer.weights]
        raise ValueError(
            f"optimizer.frozen_until={one_line(repr(last))} is no layer of the backbone "
            f"{backbone.name!r}; {did_you_mean(last, with_weights)}model.backbone.summary() lists "
            "them."
        )
    backbone.trainable = chosen.backbone_learning_rate > 0
    first = names.index(last) + 1 if last else 0
    for index, layer in enumerate(backbone.layers):  # one by one: a trained parent's may be frozen
        layer.trainable = backbone.trainable and index >= first
