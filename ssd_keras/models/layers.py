"""Keras layers of SSD."""

import keras
from keras import ops

CHANNEL_ORDERS = ("rgb", "bgr")


@keras.saving.register_keras_serializable("ssd_keras")
class Preprocessor(keras.layers.Layer):
    """Turns RGB images of 0..255 into what the backbone was trained on.

    It is a part of the model, so that nobody can feed the wrong mean.

    Args:
        mean: three numbers subtracted from red, green and blue, in 0..255.
        scale: factor applied after that, one number or three. Default 1.
        channel_order: "rgb" (default) or "bgr", the order that the backbone expects.

    Call arguments:
        images: RGB, uint8 or float, [B, H, W, 3] in 0..255.

    Returns of a call:
        [B, H, W, 3] in the layer's compute dtype.

    Example:

    >>> layer = Preprocessor(mean=(123, 117, 104), channel_order="bgr")
    >>> ops.convert_to_numpy(layer(ops.array([[[[124., 119., 107.]]]])))[0, 0, 0]
    array([3., 2., 1.], dtype=float32)
    """

    def __init__(self, mean=(0.0, 0.0, 0.0), scale=1.0, channel_order="rgb", **kwargs):
        # uint8 images must reach `call` as they are: Keras would only cast floats.
        super().__init__(autocast=False, **kwargs)
        if channel_order not in CHANNEL_ORDERS:
            raise ValueError(f"channel_order={channel_order!r} is unknown; choose 'rgb' or 'bgr'.")
        self.mean = tuple(float(value) for value in mean)
        self.scale = scale
        self.channel_order = channel_order

    def call(self, images):
        # Exact in float32 first: bfloat16 holds no more than 8 bits of a value.
        images = (ops.cast(images, "float32") - ops.array(self.mean, "float32")) * ops.array(
            self.scale, "float32"
        )
        if self.channel_order == "bgr":
            images = ops.flip(images, axis=-1)
        return ops.cast(images, self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "mean": self.mean,
            "scale": self.scale,
            "channel_order": self.channel_order,
        }


@keras.saving.register_keras_serializable("ssd_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer, trained with TensorFlow's fused operator where that is the backend.

    Keras writes moments, scaling and their gradients as some twenty operators over whole feature
    maps, which were two thirds of a training step of SSDLite on a CPU. Arguments, weights and
    results are Keras' own; so is everything but a training step on [B, H, W, C].
    """

    def call(self, inputs, training=None, mask=None):
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
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            step = (1 - self.momentum) * ops.cast(now, moving.dtype)
            moving.assign(self.momentum * moving + step)
        return outputs

    def _can_be_fused(self, inputs):
        is_plain = self.scale and self.center and not (self.renorm or self.synchronized)
        is_image = len(inputs.shape) == 4 and self.axis in (-1, 3)
        return is_plain and is_image and keras.backend.backend() == "tensorflow"


@keras.saving.register_keras_serializable("ssd_keras")
class L2Normalize(keras.layers.Layer):
    """Scales each position's channels to length 1, times a learned factor for each channel.

    The treatment of conv4_3, whose features are larger than the others' (paper section 3.1,
    after ParseNet).

    Args:
        initial_scale: start of the learned factors. Default 20.

    Call arguments:
        features: [B, H, W, C].

    Returns of a call:
        same shape.

    Example:

    >>> layer = L2Normalize(initial_scale=10.0)
    >>> ops.convert_to_numpy(layer(ops.array([[[[3., 4.]]]])))[0, 0, 0]
    array([6., 8.], dtype=float32)
    """

    EPSILON = 1e-10

    def __init__(self, initial_scale=20.0, **kwargs):
        super().__init__(**kwargs)
        self.initial_scale = initial_scale

    def build(self, input_shape):
        self.scale = self.add_weight(
            name="scale",
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_scale),
        )

    def call(self, features):
        # Squares of hundreds over 512 channels need float32's range and digits.
        wide = ops.cast(features, "float32")
        norm = ops.sqrt(ops.sum(ops.square(wide), axis=-1, keepdims=True) + self.EPSILON)
        scaled = wide / norm * ops.cast(self.scale, "float32")
        return ops.cast(scaled, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "initial_scale": self.initial_scale}
