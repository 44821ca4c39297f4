"""Values of losses with their gradients, on the backend that runs the tests."""

import keras
from keras import ops


def value_and_gradient(loss, y_true, y_pred):
    """The loss and its gradient with respect to `y_pred`, compiled under JAX."""
    if keras.backend.backend() == "jax":
        import jax

        y_true = jax.tree.map(ops.convert_to_tensor, y_true)
        value, gradient = jax.jit(jax.value_and_grad(loss, argnums=1))(
            y_true, ops.convert_to_tensor(y_pred)
        )
    else:
        import tensorflow as tf

        y_pred = tf.convert_to_tensor(y_pred)
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        gradient = tape.gradient(value, y_pred)
    return float(value), ops.convert_to_numpy(gradient)
