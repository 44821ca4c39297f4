"""Optimizers and learning rate schedules of the papers."""

from ssd_keras.optimizers.adamw import AdamW as AdamW
from ssd_keras.optimizers.caffe_sgd import CaffeSGD as CaffeSGD
from ssd_keras.optimizers.warm_up import WarmUp as WarmUp
from ssd_keras.optimizers.weight_average import averaged_weights as averaged_weights
