"""Keras layers of SSD."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

CHANNEL_ORDERS = ("rgb", "bgr")


@keras.saving.register_keras_serializable("ssd_keras")
class Preprocessor(keras.layers.Layer):
    """Turns RGB images [B, H, W, 3] in 0..255, uint8 or float, into the input of the backbone."""

    def __init__(
        self,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        scale: float | Sequence[float] = 1.0,
        channel_order: str = "rgb",
        **kwargs: Any,
    ) -> None:
        # `call` casts uint8 images itself: Keras casts floats alone.
        super().__init__(autocast=False, **kwargs)
        if channel_order not in CHANNEL_ORDERS:
            raise ValueError(f"channel_order={channel_order!r} is unknown; choose 'rgb' or 'bgr'.")
        self.mean = tuple(float(value) for value in mean)
        self.scale = scale
        self.channel_order = channel_order

    def call(self, images: Any) -> Any:
        # Subtracted in float32: bfloat16 holds 8 bits of a value.
        images = (ops.cast(images, "float32") - ops.array(self.mean, "float32")) * ops.array(
            self.scale, "float32"
        )
        if self.channel_order == "bgr":
            images = ops.flip(images, axis=-1)
        return ops.cast(images, self.compute_dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "mean": self.mean,
            "scale": self.scale,
            "channel_order": self.channel_order,
        }


@keras.saving.register_keras_serializable("ssd_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer, whose training step uses the fused operator on TensorFlow.

    Arguments, weights and results are those of Keras' layer.
    """

    # Keras computes moments, scaling and gradients with some twenty operators over whole feature
    # maps: two thirds of a training step of SSDLite on a CPU.
    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        is_fused = training and self.trainable and mask is None and self._can_be_fused(inputs)
        if not is_fused:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.cast(self.gamma, "float32"),
            offset=ops.cast(self.beta, "float32"),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
        )
        # The operator divides by one less than the number of values, Keras by that number.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        variance *= (count - 1) / count
        for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
            step = (1 - self.momentum) * ops.cast(current, moving.dtype)
            moving.assign(self.momentum * moving + step)
        return outputs

    def _can_be_fused(self, inputs: Any) -> bool:
        renorm = getattr(self, "renorm", False)  # since Keras 3.15
        is_plain = self.scale and self.center and not (renorm or self.synchronized)
        is_image = len(inputs.shape) == 4 and self.axis in (-1, 3)
        return is_plain and is_image and keras.backend.backend() == "tensorflow"


@keras.saving.register_keras_serializable("ssd_keras")
class AtrousConv2D(keras.layers.Conv2D):
    """Keras' layer with a dilation rate, computed by one operator on TensorFlow.

    Arguments, weights and results are those of Keras' layer.
    """

    # Keras cuts the feature map into rate x rate pieces, convolves these and joins them: 3.4 times
    # the time for VGG16's fc6, which is a fifteenth of a training step of SSD300 on a CPU.
    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        is_plain = self.data_format == "channels_last" and self.padding in ("same", "valid")
        if not is_plain or keras.backend.backend() != "tensorflow" or not _has_atrous_gradient():
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        padding, dilations = self.padding.upper(), self.dilation_rate
        return tf.nn.conv2d(inputs, kernel, self.strides, padding, dilations=dilations)


@functools.cache
def _has_atrous_gradient() -> bool:
    """Whether TensorFlow has the gradient of that operator here; without oneDNN CPUs lack it."""
    import tensorflow as tf

    with tf.init_scope():
        image = tf.ones([1, 3, 3, 1])
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=image.shape,
                filter=tf.ones([3, 3, 1, 1]),
                out_backprop=image,
                strides=[1] * 4,
                padding="SAME",
                dilations=[1, 2, 2, 1],
            )
        except tf.errors.InvalidArgumentError:
            return False
    return True


@keras.saving.register_keras_serializable("ssd_keras")
class L2Normalize(keras.layers.Layer):
    """Normalises the channels of each cell to length 1 and scales them by learned factors.

    SSD applies it to conv4_3, whose features are larger than the others' (paper section 3.1).
    """

    EPSILON = 1e-10

    def __init__(self, initial_scale: float = 20.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial_scale = initial_scale

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.scale = self.add_weight(
            name="scale",
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_scale),
        )

    def call(self, features: Any) -> Any:
        # Squares of hundreds, summed over 512 channels, need float32's range and digits.
        wide = ops.cast(features, "float32")
        norm = ops.sqrt(ops.sum(ops.square(wide), axis=-1, keepdims=True) + self.EPSILON)
        scaled = wide / norm * ops.cast(self.scale, "float32")
        return ops.cast(scaled, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "initial_scale": self.initial_scale}
