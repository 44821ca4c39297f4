"""Caffe networks in memory for tests of what the importer does with arrays."""

import numpy as np
from gold import caffe_nets

from ssd_keras.importers import caffe
from ssd_keras.importers.caffe_file import CaffeNetwork, PriorBox


def shapes_of(net):
    """Shapes of the arrays of each layer."""
    layers = [*caffe_nets.backbone_layers(), *caffe_nets.extra_layers(net)]
    shapes = {
        name: [(outputs, inputs, kernel, kernel), (outputs,)]
        for name, inputs, outputs, kernel, _ in [*layers, *caffe_nets.head_layers(net)]
    }
    return {**shapes, "conv4_3_norm": [(512,)]}


def zeros(*shapes):
    """Arrays of zeros that take no memory."""
    return [np.broadcast_to(np.float32(0), shape) for shape in shapes]


def zero_network(net, prior_boxes=None, **changed):
    """A network of zeros, with some layers' arrays changed."""
    arrays = {name: zeros(*shapes) for name, shapes in shapes_of(net).items()}
    prior_boxes = prior_boxes_of(net) if prior_boxes is None else prior_boxes
    return CaffeNetwork("net.caffemodel", {**arrays, **changed}, prior_boxes)


def prior_boxes_of(net, **changed):
    """Its `PriorBox` records, with some fields of all of them changed."""
    boxes = {}
    for index, source in enumerate(net.sources):
        cell = {
            "min_sizes": net.sizes[index : index + 1],
            "max_sizes": net.sizes[index + 1 : index + 2],
            "aspect_ratios": (2.0, 3.0) if net.has_ratio_3[index] else (2.0,),
            "step": (net.steps[index],) * 2,
        }
        boxes[f"{source}_mbox_priorbox"] = PriorBox(**{**cell, **changed})
    return boxes


def choice(monkeypatch, network, **options):
    """Preset, class names and options of the model that the importer would build.

    Building it takes seconds and is left out.
    """

    class Chosen(Exception):
        pass

    def ssd_vgg16(image_size, class_names, options, *, name):
        defaults = vars(caffe.VGG16Options())
        changed = {key: x for key, x in vars(options).items() if x != defaults[key]}
        raise Chosen(name, class_names, changed)

    with monkeypatch.context() as context:
        context.setattr(caffe, "ssd_vgg16", ssd_vgg16)
        try:
            caffe.ssd_from_network(network, **options)
        except Chosen as chosen:
            return chosen.args
    raise AssertionError("the importer built no model")
