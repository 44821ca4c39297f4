"""Augmentation steps that recipes choose by name; a new one is a new module here."""

from ssd_keras.data.augmentation.steps.pixels import Blur, Grey, Noise
from ssd_keras.data.augmentation.steps.quarter_turns import QuarterTurns

__all__ = ["Blur", "Grey", "Noise", "QuarterTurns"]
