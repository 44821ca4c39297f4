"""A frozen graph as the first Object Detection API wrote them, from constants by name.

SSDLite on MobileNetV2: preprocessing in a loop, batch normalisation of its own, anchors that the
graph computes from the sizes of its maps, decoding and NMS.
"""

import math

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
BACKBONE = "FeatureExtractor/MobilenetV2"
# Stride of the first block of each group, and blocks in the group, after the first block.
GROUPS = ((2, 2), (2, 3), (2, 4), (1, 3), (2, 3), (1, 1))
EXTRA_LAYERS = ((2, 256, 512), (3, 128, 256), (4, 128, 256), (5, 64, 128))
RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)


class FrozenGraph:
    """Builds the graph; `interpolated_second` is the order of boxes in a cell of old graphs."""

    def __init__(self, weights, size=300, interpolated_second=False, scales=(10.0, 10.0, 5.0, 5.0)):
        self._weights, self._size, self._scales = weights, size, scales
        self._is_second = interpolated_second
        with tf.Graph().as_default() as graph:
            self._build()
        self.definition = graph.as_graph_def()

    def run(self, image, *tensors):
        """Values of tensors for an image [height, width, 3]."""
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(self.definition, name="")
            with v1.Session(graph=graph) as session:
                return session.run(list(tensors), {"image_tensor:0": image[None]})

    def _constant(self, name):
        values = self._weights[name].astype("float32")
        return tf.identity(tf.constant(values, name=name), name=f"{name}/read")

    def _conv(self, x, name, strides=1, relu=True, depthwise=False, bias=False):
        kernel = self._constant(f"{name}/{'depthwise_weights' if depthwise else 'weights'}")
        convolve = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
        x = convolve(x, kernel, [1, strides, strides, 1], "SAME", name=f"{name}/Conv2D")
        if bias:
            return tf.nn.bias_add(x, self._constant(f"{name}/biases"), name=f"{name}/BiasAdd")
        norm = [
            self._constant(f"{name}/BatchNorm/{each}")
            for each in ("gamma", "beta", "moving_mean", "moving_variance")
        ]
        x = v1.nn.fused_batch_norm(x, *norm, epsilon=0.001, is_training=False)[0]
        return tf.nn.relu6(x, name=f"{name}/Relu6") if relu else x

    def _build(self):
        image = v1.placeholder(tf.uint8, (None, None, None, 3), "image_tensor")
        x = tf.map_fn(
            lambda one: v1.image.resize_bilinear(one[None], (self._size, self._size))[0],
            tf.cast(image, tf.float32),
        )
        x = tf.subtract(tf.multiply(np.float32(2 / 255), x), 1.0, name="Preprocessor/sub")
        maps = self._maps(x)
        boxes, logits = [], []
        for index, x in enumerate(maps):
            for parts, kind in ((boxes, "BoxEncodingPredictor"), (logits, "ClassPredictor")):
                name = f"BoxPredictor_{index}/{kind}"
                head = self._conv(x, f"{name}_depthwise", depthwise=True)
                head = self._conv(head, name, bias=True)
                columns = [1, 4] if kind[0] == "B" else [self._num_outputs()]
                parts.append(tf.reshape(head, [tf.shape(head)[0], -1, *columns]))
        boxes = tf.squeeze(tf.concat(boxes, 1, name="concat"), [2], name="Squeeze")
        logits = tf.concat(logits, 1, name="concat_1")
        self._post_process(boxes, logits, self._anchors(maps), tf.shape(image)[0])

    def _num_outputs(self):
        return self._weights["BoxPredictor_0/ClassPredictor/biases"].size // 3

    def _maps(self, x):
        x = self._conv(x, f"{BACKBONE}/Conv", 2)
        x = self._conv(x, f"{BACKBONE}/expanded_conv/depthwise", depthwise=True)
        x = self._conv(x, f"{BACKBONE}/expanded_conv/project", relu=False)
        maps, number = [], 0
        for stride, count in GROUPS:
            for index in range(count):
                number += 1
                name, shortcut = f"{BACKBONE}/expanded_conv_{number}", x
                strides = stride if index == 0 else 1
                expanded = self._conv(x, f"{name}/expand")
                if number == 13:
                    maps.append(expanded)
                x = self._conv(expanded, f"{name}/depthwise", strides, depthwise=True)
                x = self._conv(x, f"{name}/project", relu=False)
                if index:
                    x = tf.add(x, shortcut, name=f"{name}/add")
        maps.append(self._conv(x, f"{BACKBONE}/Conv_1"))
        for index, narrow, wide in EXTRA_LAYERS:
            name = f"{BACKBONE}/layer_19_2_Conv2d_{index}_3x3_s2_{wide}"
            x = self._conv(maps[-1], f"{BACKBONE}/layer_19_1_Conv2d_{index}_1x1_{narrow}")
            x = self._conv(x, f"{name}_depthwise", 2, depthwise=True)
            maps.append(self._conv(x, name))
        return maps

    def _anchors(self, maps):
        """Corners of the boxes of the `ssd_anchor_generator`, in the graph's own arithmetic."""
        scales = [0.2 + 0.15 * index for index in range(6)] + [1.0]
        parts = []
        for index, x in enumerate(maps):
            cell = [(scales[index], ratio) for ratio in RATIOS]
            square = (math.sqrt(scales[index] * scales[index + 1]), 1.0)
            cell = [cell[0], square, *cell[1:]] if self._is_second else [*cell, square]
            if index == 0:
                cell = [(0.1, 1.0), (0.2, 2.0), (0.2, 0.5)]
            sides, ratios = (tf.constant(one, tf.float32) for one in zip(*cell, strict=True))
            shape = tf.cast(tf.shape(x)[1:3], tf.float32)
            y, x = ((tf.range(shape[axis]) + 0.5) / shape[axis] for axis in (0, 1))
            x, y, ratios = x[None, :, None], y[:, None, None], tf.sqrt(ratios)
            zeros = tf.zeros_like(x * y * ratios)
            height, width = (each + zeros for each in (sides / ratios, sides * ratios))
            corners = (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
            parts.append(tf.reshape(tf.stack([each + zeros for each in corners], -1), [-1, 4]))
        return tf.concat(parts, 0, name="Concatenate/concat")

    def _post_process(self, boxes, logits, anchors, batch):
        anchors = tf.reshape(tf.tile(anchors[None], [batch, 1, 1]), [-1, 4])
        low_y, low_x, high_y, high_x = tf.unstack(tf.transpose(anchors))
        height, width = high_y - low_y, high_x - low_x
        y, x = low_y + height / 2, low_x + width / 2
        codes = tf.unstack(tf.transpose(tf.reshape(boxes, [-1, 4])))
        codes = [code / scale for code, scale in zip(codes, self._scales, strict=True)]
        tall, wide = tf.exp(codes[2]) * height, tf.exp(codes[3]) * width
        y, x = codes[0] * height + y, codes[1] * width + x
        found = tf.stack([y - tall / 2, x - wide / 2, y + tall / 2, x + wide / 2], -1)
        tf.identity(found, name="decoded")
        scores = tf.sigmoid(logits / 1.0, name="Postprocessor/convert_scores")[0, :, 1:]
        for label in range(self._num_outputs() - 1):
            one = tf.image.non_max_suppression(found, scores[:, label], 100, 0.6, 1e-8)
            tf.identity(tf.gather(found, one), name=f"boxes_{label}")
            tf.identity(tf.gather(scores[:, label], one), name=f"scores_{label}")
