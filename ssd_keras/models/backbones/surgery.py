"""Turns Keras networks into backbones: feature maps, strides, folded batch normalisation."""

from collections.abc import Callable, Sequence

import keras
import numpy as np


def feature_extractor(
    network: keras.Model, layer_names: Sequence[str], name: str | None = None
) -> keras.Model:
    """Cuts a network down to the feature maps of the named layers."""
    known = [layer.name for layer in network.layers]
    for layer_name in layer_names:
        if layer_name not in known:
            raise ValueError(
                f"the backbone {network.name!r} has no layer {layer_name!r}; choose from those "
                f"with a feature map, for example {', '.join(_suggest(network))}."
            )
        if len(network.get_layer(layer_name).output.shape) != 4:
            raise ValueError(
                f"layer {layer_name!r} of the backbone {network.name!r} has the output shape "
                f"{network.get_layer(layer_name).output.shape}; expected a feature map "
                "[B, H, W, C]: name another layer."
            )
    outputs = [network.get_layer(layer_name).output for layer_name in layer_names]
    # A list of one input would make Keras warn at every call with a plain image batch.
    return keras.Model(network.inputs[0], outputs, name=name or network.name)


def _suggest(network: keras.Model) -> list[str]:
    """Returns the last layer of each of the five coarsest map sizes."""
    last = {}
    for layer in network.layers:
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4 and not isinstance(layer, keras.layers.ZeroPadding2D):
            last[shape[1:3]] = layer.name
    return list(last.values())[-5:]


def fold_batch_norm(network: keras.Model) -> keras.Model:
    """Copies a network with each batch normalisation folded into the convolution before it.

    In inference the outputs are the same. Without batch normalisation a training step takes about
    a fifth less time on a CPU, and works with small batches.
    """
    folded = {
        _convolution_before(layer).name: layer
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }

    def clone(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.BatchNormalization):
            return keras.layers.Identity(name=layer.name)
        config = layer.get_config()
        if layer.name in folded:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    # Identity does not take the call arguments of batch normalisation.
    result = keras.models.clone_model(
        network, clone_function=clone, call_function=lambda layer, *inputs, **_: layer(*inputs)
    )
    for layer in network.layers:
        if layer.name in folded:
            result.get_layer(layer.name).set_weights(_fold(layer, folded[layer.name]))
        elif layer.weights and not isinstance(layer, keras.layers.BatchNormalization):
            result.get_layer(layer.name).set_weights(layer.get_weights())
    return result


def _convolution_before(layer: keras.layers.BatchNormalization) -> keras.Layer:
    """Returns the convolution whose output a batch normalisation takes."""
    source = layer.input._keras_history.operation
    is_convolution = isinstance(source, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    if not is_convolution or source.activation is not keras.activations.linear:
        raise ValueError(
            f"batch normalisation {layer.name!r} cannot be folded into {source.name!r}: expected "
            "a convolution without activation right before it; use a backbone that has one."
        )
    return source


def _fold(
    convolution: keras.Layer, batch_norm: keras.layers.BatchNormalization
) -> list[np.ndarray]:
    """Returns kernel and bias of a convolution with the batch normalisation inside."""
    ops = keras.ops
    kernel, *bias = (ops.convert_to_numpy(weight) for weight in convolution.weights)
    mean = ops.convert_to_numpy(batch_norm.moving_mean)
    variance = ops.convert_to_numpy(batch_norm.moving_variance)
    factor = (variance + batch_norm.epsilon) ** -0.5
    if batch_norm.gamma is not None:
        factor = factor * ops.convert_to_numpy(batch_norm.gamma)
    shift = -mean * factor
    if batch_norm.beta is not None:
        shift = shift + ops.convert_to_numpy(batch_norm.beta)
    is_depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    kernel = kernel * (factor.reshape(kernel.shape[2:]) if is_depthwise else factor)
    return [kernel, shift + (bias[0] * factor if bias else 0.0)]


def fold_padding(network: keras.Model) -> keras.Model:
    """Copies a network with each layer of zeros folded into the convolution after it.

    `keras.applications` pads before convolutions of stride 2 as their padding "same" would; the
    outputs are the same, and neither a training step nor a TFLite file copies the feature map.
    """
    padded = {
        node.operation.name
        for layer in network.layers
        if isinstance(layer, keras.layers.ZeroPadding2D)
        for node in layer._outbound_nodes
        if _pads_like_same(layer, node.operation)
    }

    def clone(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if layer.name in padded:
            config["padding"] = "same"
        is_folded = padded & {node.operation.name for node in layer._outbound_nodes}
        if isinstance(layer, keras.layers.ZeroPadding2D) and is_folded:
            return keras.layers.Identity(name=layer.name)
        return type(layer).from_config(config)

    result = keras.models.clone_model(network, clone_function=clone)
    result.set_weights(network.get_weights())
    return result


def _pads_like_same(zeros: keras.Layer, convolution: keras.Layer) -> bool:
    """Whether zeros before a convolution are those that its padding "same" adds."""
    if getattr(convolution, "padding", "") != "valid" or len(zeros._outbound_nodes) != 1:
        return False
    for sides, size, kernel, stride in zip(
        zeros.padding,
        zeros.input.shape[1:3],
        convolution.kernel_size,
        convolution.strides,
        strict=True,
    ):
        total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        if tuple(sides) != (total // 2, total - total // 2):
            return False
    return True


def restride(network: keras.Model, strides: dict[str, int]) -> keras.Model:
    """Copies a network, weights included, with other strides in the named layers."""
    missing = sorted(strides.keys() - {layer.name for layer in network.layers})
    if missing:
        raise ValueError(
            f"the backbone {network.name!r} has no layer {missing[0]!r} to change the stride of; "
            "name one of its layers."
        )

    def change(layer: keras.Layer, config: dict) -> tuple[type[keras.Layer], dict]:
        if layer.name in strides:
            config["strides"] = (strides[layer.name],) * 2
        return type(layer), config

    return rebuild(network, change)


def rebuild(
    network: keras.Model, change: Callable[[keras.Layer, dict], tuple[type[keras.Layer], dict]]
) -> keras.Model:
    """Copies a network; `change(layer, config)` returns class and config of each layer's copy."""

    def clone(layer: keras.Layer) -> keras.Layer:
        layer_class, config = change(layer, layer.get_config())
        return layer_class.from_config(config)

    result = keras.models.clone_model(network, clone_function=clone)
    result.set_weights(network.get_weights())
    return result
