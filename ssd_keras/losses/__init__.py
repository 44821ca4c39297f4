"""Losses of SSD."""

from ssd_keras.losses.box import BoxLoss as BoxLoss
from ssd_keras.losses.classification import ClassLoss as ClassLoss
