"""SSD object detection in Keras 3: train with `model.fit`, evaluate as the papers do."""

import importlib
from typing import Any

from ssd_keras.core.quiet_tensorflow import silence_tensorflow_start
from ssd_keras.core.registry import register_with_keras
from ssd_keras.version import __version__ as __version__

_MODULES = {
    "SSD": "ssd_keras.models",
    "build_ssd": "ssd_keras.models",
    "ExtraLayer": "ssd_keras.models",
    "ExtraLayers": "ssd_keras.models",
    "FPN": "ssd_keras.models",
    "PAN": "ssd_keras.models",
    "SSDHead": "ssd_keras.models",
    "SharedHead": "ssd_keras.models",
    "ConvStyle": "ssd_keras.models",
    "PRESETS": "ssd_keras.presets",
    "from_preset": "ssd_keras.presets",
    "DefaultBoxes": "ssd_keras.boxes.default_boxes",
    "DetectionResult": "ssd_keras.drawing.results",
    "PostProcess": "ssd_keras.models.post_process",
    "TargetEncoder": "ssd_keras.models.target_encoder",
    "MaxIoUAssigner": "ssd_keras.assigners",
    "ArgmaxAssigner": "ssd_keras.assigners",
    "ATSSAssigner": "ssd_keras.assigners",
    "TaskAlignedAssigner": "ssd_keras.assigners",
    "SimOTAAssigner": "ssd_keras.assigners",
    "SmoothL1Loss": "ssd_keras.losses",
    "GIoULoss": "ssd_keras.losses",
    "DIoULoss": "ssd_keras.losses",
    "CIoULoss": "ssd_keras.losses",
    "SoftmaxLoss": "ssd_keras.losses",
    "SigmoidLoss": "ssd_keras.losses",
    "FocalLoss": "ssd_keras.losses",
    "QualityFocalLoss": "ssd_keras.losses",
    "VarifocalLoss": "ssd_keras.losses",
    "Augmentation": "ssd_keras.data.augmentation.augmentation",
    "register_augmentation_step": "ssd_keras.data.augmentation.registry",
    "training_dataset": "ssd_keras.data.pipeline",
    "repeat_factors": "ssd_keras.data.repeat_factors",
    "DataWorkers": "ssd_keras.data.workers.service",
    "inference_dataset": "ssd_keras.data.pipeline",
    "load_data": "ssd_keras.data.sources",
    "ValidationAP": "ssd_keras.engine.callbacks",
    "LiveCurves": "ssd_keras.engine.training_logs",
    "detect": "ssd_keras.engine.detector",
    "load_detector": "ssd_keras.engine.detector",
    "evaluate": "ssd_keras.engine.evaluate",
    "compare": "ssd_keras.engine.compare",
    "train": "ssd_keras.engine.train",
    "TrainRecipe": "ssd_keras.engine.recipes",
    "load_recipe": "ssd_keras.engine.recipes",
    "draw_boxes": "ssd_keras.drawing.draw",
    "contact_sheet": "ssd_keras.drawing.sheet",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'ssd_keras' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


silence_tensorflow_start()
register_with_keras()
