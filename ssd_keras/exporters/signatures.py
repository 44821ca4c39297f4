"""The detector that a server runs: encoded images or pixels in, named detections out."""

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from ssd_keras.data.images import resize_image
from ssd_keras.exporters.encoded_images import EncodedImage, decode_upright, read_encoded
from ssd_keras.exporters.formats import MAX_PIXELS
from ssd_keras.exporters.network import network_function
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

PARALLEL_IMAGES = 16
ENCODED_FEATURE = "image/encoded"


def _signature(spec: tf.TensorSpec) -> Callable:
    # Branches and loops are TensorFlow's own, so AutoGraph would only take time.
    return tf.function(input_signature=[spec], autograph=False)


class ServedDetector(tf.Module):
    """The three signatures of a SavedModel."""

    def __init__(
        self,
        model: SSD,
        labels_file: str,
        post_process: PostProcess | None = None,
        weights: str = "constants",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(name="detector")
        self.labels = tf.saved_model.Asset(labels_file)
        network = network_function(model, "float32", batch_size=None, weights=weights)
        if weights == "variables":
            self.weights = [variable.value for variable in model.variables]
        # Behind functions: TensorFlow would save a Keras model among the attributes.
        self._get_model, self._get_network = lambda: model, lambda: network
        # Traced once for both signatures.
        read = tf.function(partial(read_encoded, max_pixels=max_pixels), autograph=False)
        self._read_encoded = lambda data: read(data)
        self._max_pixels = max_pixels
        self._post_process = (post_process or model.post_process).bound_to(model)

    @_signature(tf.TensorSpec([None], tf.string, name="image_bytes"))
    def from_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Signature serving_default: JPEG, PNG, WebP, BMP or GIF files."""
        return self._detect(*self._read_images(image_bytes))

    @_signature(tf.TensorSpec([None], tf.string, name="examples"))
    def from_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Signature tf_example: serialised tf.train.Example records."""
        images = tf.map_fn(_encoded_image, examples, fn_output_signature=tf.string)
        return self._detect(*self._read_images(images))

    @_signature(tf.TensorSpec([None, None, None, 3], tf.uint8, name="images"))
    def from_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Signature image_tensor: RGB pixels."""
        shape = tf.shape(images)
        is_valid = tf.fill(shape[:1], tf.reduce_all(shape[1:] > 0))
        image_size = self._get_model().image_size
        resized = tf.cond(
            tf.reduce_all(shape[1:] > 0),
            lambda: resize_image(images, image_size),
            lambda: tf.zeros([shape[0], *image_size, 3]),
        )
        return self._detect(resized, is_valid)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns the signatures by name, as `tf.saved_model.save` takes them."""
        functions = {
            "serving_default": self.from_bytes,
            "image_tensor": self.from_images,
            "tf_example": self.from_examples,
        }
        return {name: function.get_concrete_function() for name, function in functions.items()}

    def _read_images(self, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns images of the model's size, and which of them could be decoded."""
        image_size = self._get_model().image_size
        blank = (tf.zeros([*image_size, 3]), False)

        def decode(image: EncodedImage) -> tuple[tf.Tensor, tf.Tensor]:
            pixels, is_valid = decode_upright(image, self._max_pixels)
            return tf.cond(
                is_valid, lambda: (resize_image(pixels, image_size), True), lambda: blank
            )

        return tf.map_fn(
            # A function in a data set is set up for each image, so that it should be small.
            lambda data: _without_errors(decode, self._read_encoded(data), blank),
            encoded,
            fn_output_signature=(
                tf.TensorSpec((*image_size, 3), tf.float32),
                tf.TensorSpec((), tf.bool),
            ),
            parallel_iterations=PARALLEL_IMAGES,
        )

    def _detect(self, images: tf.Tensor, is_valid: tf.Tensor) -> dict[str, tf.Tensor]:
        model = self._get_model()
        # Convolutions fail on an empty batch: a blank image replaces it and is cut off.
        num_images = tf.shape(images)[0]
        blank = tf.zeros([1, *model.image_size, 3])
        network = self._get_network()
        deltas, logits = network(tf.cond(num_images > 0, lambda: images, lambda: blank))
        detections = self._post_process(
            {"box_deltas": deltas[:num_images], "class_logits": logits[:num_images]}
        )
        count = tf.where(is_valid, detections["num_detections"], 0)
        is_used = tf.range(self._post_process.max_detections) < count[:, None]
        names = tf.gather(tf.constant(model.class_names), detections["labels"])
        return {
            "detection_boxes": tf.where(is_used[..., None], detections["boxes"], 0.0),
            "detection_scores": tf.where(is_used, detections["scores"], 0.0),
            "detection_classes": tf.where(is_used, detections["labels"], 0),
            "detection_class_names": tf.where(is_used, names, ""),
            "num_detections": count,
            "image_is_valid": is_valid,
        }


def _encoded_image(record: tf.Tensor) -> tf.Tensor:
    """Returns the image of a serialised example, no bytes where it has none."""
    features = {ENCODED_FEATURE: tf.io.FixedLenFeature([], tf.string)}

    def parse(record: tf.Tensor) -> tf.Tensor:
        return tf.io.parse_single_example(record, features)[ENCODED_FEATURE]

    return _without_errors(parse, record, tf.constant(b""))


def _without_errors(function: Callable, value: Any, otherwise: Any) -> Any:
    """Returns the result of a function, or another value where one of its operators fails."""
    # An operator that fails fails its graph, all images of the batch included. Only a data set
    # can ignore errors.
    results = tf.data.Dataset.from_tensors(value).map(function).ignore_errors()
    return results.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1).get_single_element()
