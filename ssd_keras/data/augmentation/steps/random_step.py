"""What the steps share: each changes a scene with a probability."""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class RandomStep:
    """A step that changes a scene with a probability, and else returns it as it is."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(
                f"probability={self.probability} of {type(self).__name__} must be between 0 and 1."
            )

    def __call__(
        self, image: "tf.Tensor", boxes: "tf.Tensor", labels: "tf.Tensor", seed: "tf.Tensor"
    ) -> tuple["tf.Tensor", "tf.Tensor", "tf.Tensor"]:
        import tensorflow as tf

        choice_seed, seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        image, boxes = tf.cond(
            tf.random.stateless_uniform([], choice_seed) < self.probability,
            lambda: self.change(image, boxes, seed),
            lambda: (image, boxes),
        )
        return image, boxes, labels

    def change(
        self, image: "tf.Tensor", boxes: "tf.Tensor", seed: "tf.Tensor"
    ) -> tuple["tf.Tensor", "tf.Tensor"]:
        """Returns the changed image and its boxes."""
        raise NotImplementedError
