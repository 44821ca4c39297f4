"""Computes OpenCV's numbers for Caffe's SSDs on VGG16 and stores them beside this file.

    pip install "opencv-python-headless<5" numpy protobuf
    python tests/gold/make_caffe_gold.py [PHOTOS]

PHOTOS is the folder of the shared photographs, by default ../shared/data/photos beside the
checkout. OpenCV 5 no longer reads Caffe's files. With four arguments
(DEPLOY.prototxt NET.caffemodel BLOB.npy OUTPUT.npz) it runs one net and stores all outputs; this
needs OpenCV and NumPy alone. The tests run it where they find an OpenCV 4.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
PHOTO = "bird.bmp"
STORED = ("ssd300_vgg16_voc", "ssd512_vgg16_coco")
NUM_ROWS = 120


def run(prototxt, caffemodel, images):
    """Runs a net on a blob.

    Returns "box_deltas" [B, N, 4] (x, y, w, h), "class_logits" [B, N, classes], "default_boxes"
    [N, 4] xyxy, "detections" [K, 7]: image, label, score, xyxy.
    """
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
    # The errors of Winograd's convolutions are a hundred times larger.
    net.enableWinograd(False)
    net.enableFusion(False)
    net.setInput(images)
    names = ["mbox_loc", "mbox_conf_reshape", "mbox_priorbox", "detection_out"]
    deltas, logits, boxes, detections = net.forward(names)
    return {
        "box_deltas": deltas.reshape(len(images), -1, 4),
        "class_logits": logits.reshape(len(images), -1, logits.shape[-1]),
        "default_boxes": boxes[0, 0].reshape(-1, 4),
        "detections": detections[0, 0],
    }


def rows_to_keep(count):
    """Indices of the stored default boxes: some of every map, most of the coarse ones."""
    spread = np.unique(np.geomspace(1, count, NUM_ROWS).astype(int))
    return count - spread[::-1]


def store(name, net, caffe_nets, photo):
    """Runs a net on the generated image and the photograph and stores its numbers."""
    images = [caffe_nets.generated_image(net.size), caffe_nets.nearest(photo, net.size)]
    with tempfile.TemporaryDirectory() as folder:
        text, model = Path(folder, "deploy.prototxt"), Path(folder, "net.caffemodel")
        text.write_text(caffe_nets.deploy_prototxt(net.truncated(), len(images)))
        model.write_bytes(caffe_nets.caffemodel(caffe_nets.random_weights(net), net))
        found = run(text, model, caffe_nets.blob(images))
    rows = rows_to_keep(len(found["default_boxes"]))
    found["rows"] = rows.astype("int32")
    for key in ("box_deltas", "class_logits"):
        found[key] = found[key][:, rows]
    found["default_boxes"] = found["default_boxes"][rows]
    for key, value in found.items():
        print(name, key, value.shape, value.std(axis=0).mean())
    np.savez_compressed(HERE / f"caffe_{name}.npz", **found)


def main(arguments):
    if len(arguments) == 4:
        prototxt, caffemodel, images, output = arguments
        np.savez(output, **run(prototxt, caffemodel, np.load(images)))
        return
    sys.path.insert(0, str(HERE.parent))
    from gold import caffe_nets

    photos = Path(arguments[0]) if arguments else HERE.parents[2] / "shared" / "data" / "photos"
    photo = cv2.imread(str(photos / PHOTO), cv2.IMREAD_COLOR)
    if photo is None:
        raise SystemExit(f"{PHOTO} is not in {photos}; pass the folder of photographs.")
    for name in STORED:
        store(name, caffe_nets.NETS[name], caffe_nets, photo[..., ::-1])


if __name__ == "__main__":
    main(sys.argv[1:])
