"""Turns a MobileNetV2 whose batch normalisation is folded away into a trunk weights file.

    python training/weights/port_mobilenet_v2.py imagenet_mobilenet_v2_float.npz \
        --output mobilenet_v2_folded.weights.h5 --photos PHOTOS --labels imagenet_labels.txt

The .npz holds ``NNN_CONV_2D/kernel`` (HWIO), ``NNN_DEPTHWISE_CONV_2D/kernel`` (HWC1) and biases,
numbered in the order of the network; the last is the classifier. The result is what
`ssd_keras.models.mobilenet.mobilenet_v2(..., batch_norm=False, weights=PATH)` loads. With
``--photos`` the top answers of the whole classifier are printed for a look: they are right only
when every layer is.
"""

import argparse
import glob
import os

import keras
import numpy as np
import tensorflow as tf

from ssd_keras.data.images import decode_image, resize_image
from ssd_keras.models.mobilenet import mobilenet_v2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("npz", help="folded weights")
    parser.add_argument("--output", required=True, help="the .weights.h5 file to write")
    parser.add_argument("--photos", help="directory of pictures to classify as a check")
    parser.add_argument("--labels", help="text file of class names, one a line")
    arguments = parser.parse_args()
    trunk, classifier = port(arguments.npz)
    trunk.save_weights(arguments.output)
    print(f"wrote {arguments.output}")
    if arguments.photos:
        show_top_answers(trunk, classifier, arguments.photos, arguments.labels)


def port(path: str) -> tuple[keras.Model, tuple[np.ndarray, np.ndarray]]:
    """Fills a trunk for 224x224 pictures; returns it with the classifier's kernel and bias."""
    arrays = np.load(path)
    names = sorted({name.split("/")[0] for name in arrays.files})
    *convolutions, classifier = [
        (arrays[f"{name}/kernel"], arrays[f"{name}/bias"]) for name in names
    ]
    trunk = mobilenet_v2((224, 224), batch_norm=False)
    layers = [layer for layer in trunk.layers if layer.weights]
    for layer, weights in zip(layers, convolutions, strict=True):
        layer.set_weights(weights)
    return trunk, (classifier[0][0, 0], classifier[1])


def show_top_answers(trunk, classifier, photos: str, labels: str) -> None:
    """Prints the best three classes of each photo."""
    with open(labels, encoding="utf-8") as file:
        names = file.read().splitlines()
    for path in sorted(glob.glob(os.path.join(photos, "*.[jb][pm][gp]"))):
        image = resize_image(decode_image(tf.io.read_file(path)), (224, 224))
        features = trunk.predict_on_batch(image.numpy()[None] / 127.5 - 1.0)[-1]
        logits = features.mean(axis=(1, 2))[0] @ classifier[0] + classifier[1]
        scores = np.exp(logits - logits.max())
        scores /= scores.sum()
        best = np.argsort(-scores)[:3]
        print(os.path.basename(path), [(names[i], round(float(scores[i]), 3)) for i in best])


if __name__ == "__main__":
    main()
