"""Presets: their numbers counted again, their options."""

import dataclasses
import hashlib
from types import SimpleNamespace

import keras
import pytest
from quick_weights import use_quick_weights

from ssd_keras import presets
from ssd_keras.assigners.atss import ATSSAssigner
from ssd_keras.core.class_names import COCO_CLASSES, VOC_CLASSES
from ssd_keras.core.origin import Origin
from ssd_keras.engine.recipes import load_recipe
from ssd_keras.engine.train import initial_model
from ssd_keras.importers.published import BACKBONES, origin_of_file
from ssd_keras.models import FPN, ConvStyle, ExtraLayer, ExtraLayers, SharedHead, SSDHead
from ssd_keras.models.builders.vgg import SSD_SIZES
from ssd_keras.models.post_process import PostProcess
from ssd_keras.presets import PRESETS, from_preset, is_trained

# cells of each map's side, default boxes of a cell
SSD300 = [(38, 4), (19, 6), (10, 6), (5, 6), (3, 4), (1, 4)]
SSD512 = [(64, 4), (32, 6), (16, 6), (8, 6), (4, 6), (2, 4), (1, 4)]
SSDLITE320 = [(20, 6), (10, 6), (5, 6), (3, 6), (2, 6), (1, 6)]
MAPS = {
    "ssd300_vgg16_voc": SSD300,
    "ssd300_vgg16_coco": SSD300,
    "ssd512_vgg16_voc": SSD512,
    "ssd512_vgg16_coco": SSD512,
    "ssd300_resnet18_coco": SSD300,
    "ssd300_resnet50_coco": SSD300,
    "ssdlite320_mobilenet_v2_coco": SSDLITE320,
    "ssdlite320_mobilenet_v3_large_coco": SSDLITE320,
    "ssd_pan320_small_coco": [(40, 1), (20, 1), (10, 1), (5, 1)],
    "ssd_pan384_medium_coco": [(48, 1), (24, 1), (12, 1), (6, 1)],
    "ssd_pan416_large_coco": [(52, 1), (26, 1), (13, 1), (7, 1)],
    "ssd192_small_shapes": [(24, 4), (12, 4), (6, 4), (3, 4)],
}
UNTRAINED = [name for name, preset in PRESETS.items() if preset.weights is None]


@pytest.fixture(autouse=True)
def quick_weights(monkeypatch):
    use_quick_weights(monkeypatch)
    yield
    keras.utils.clear_session()  # each of these models takes a hundred megabytes


@pytest.mark.parametrize(
    ("backbone", "options", "name", "licence"),
    [
        ("vgg16", {}, "keras.applications.VGG16", "CC-BY-4.0"),
        ("mobilenet_v2", {}, "keras.applications.MobileNetV2", "Apache-2.0"),
        ("resnet50", {"variant": "keras"}, "keras.applications.ResNet50", "MIT"),
        ("resnet50", {"variant": "torchvision"}, "resnet50", "BSD-3-Clause"),
        ("resnet18", {}, "resnet18", "BSD-3-Clause"),
    ],
)
def test_the_origin_of_imagenet_weights(backbone, options, name, licence):
    origin = presets._backbone_origin(
        backbone, SimpleNamespace(backbone_weights="imagenet", **options)
    )
    assert (origin.name, origin.licence) == (name, licence)
    assert origin.address.startswith("https://")


def test_a_file_of_weights_is_known_by_its_bytes(tmp_path, monkeypatch):
    (tmp_path / "mine.pth").write_bytes(b"weights")
    assert origin_of_file(str(tmp_path / "mine.pth")) == Origin("mine.pth")
    digest = hashlib.sha256(b"weights").hexdigest()
    published = dataclasses.replace(BACKBONES["resnet18"], sha256=digest)
    monkeypatch.setitem(BACKBONES, "resnet18", published)
    assert origin_of_file(str(tmp_path / "mine.pth")) == published.origin("resnet18")


@pytest.mark.parametrize("name", UNTRAINED)
def test_preset_is_what_its_record_says(name):
    preset = PRESETS[name]
    model = from_preset(name)
    assert model.name == preset.name == name
    assert model.class_names == preset.class_names
    assert model.image_size == preset.image_size
    assert model.feature_sizes == tuple((side, side) for side, _ in MAPS[name])
    count = sum(side * side * boxes for side, boxes in MAPS[name])
    assert preset.num_default_boxes == len(model.default_box_array) == count
    assert model.output["box_deltas"].shape == (None, count, 4)
    assert model.output["class_logits"].shape == (None, count, 1 + len(preset.class_names))


@pytest.mark.parametrize("name", UNTRAINED)
def test_recipe_of_a_preset_trains_its_builder(name):
    recipe = load_recipe(PRESETS[name].recipe)
    assert PRESETS[recipe.model.preset].builder.split("_")[0] == PRESETS[name].builder.split("_")[0]
    assert PRESETS[recipe.model.preset].image_size == PRESETS[name].image_size
    assert PRESETS[recipe.model.preset].class_names == PRESETS[name].class_names


@pytest.mark.parametrize(
    ("name", "cells", "boxes_per_cell", "assigner"),
    [
        # Maps of strides 8, 16, 32 and 64 of the input 320x320; a square
        ("own_data", [(40, 40), (20, 20), (10, 10), (5, 5)], 1, ATSSAssigner()),
        # The same of 288x384
        ("blood_cells", [(36, 48), (18, 24), (9, 12), (5, 6)], 1, ATSSAssigner()),
    ],
)
def test_recipe_for_small_data_builds_its_model(name, cells, boxes_per_cell, assigner):
    recipe = load_recipe(name).replace({"model.backbone_weights": "random"})
    model = initial_model(recipe, ["cat", "dog"])
    assert list(model.feature_sizes) == cells
    assert len(model.default_box_array) == sum(h * w for h, w in cells) * boxes_per_cell
    assert model.assigner == assigner


def test_a_model_or_a_preset_with_weights_is_trained():
    assert is_trained("runs/cells/model.keras") and is_trained("caffe_ssd300_vgg16_voc")
    assert not is_trained("ssd300_vgg16_voc")


def test_class_names_are_complete():
    assert len(VOC_CLASSES) == len(set(VOC_CLASSES)) == 20
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    # VOC's labels are alphabetic; COCO's follow its category ids, where 1, 44, 90 have these names
    assert sorted(VOC_CLASSES) == list(VOC_CLASSES)
    assert (COCO_CLASSES[0], COCO_CLASSES[39], COCO_CLASSES[79]) == (
        "person", "bottle", "toothbrush",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "first", "lowest", "step"),
    [(SSD_SIZES[300, "voc"], 10, 20, 17), (SSD_SIZES[300, "coco"], 7, 15, 18)],
)
def test_sizes_of_ssd300_follow_the_papers_rule(sizes, first, lowest, step):
    # Per cent of 300 pixels: that of the first map, then from the lowest in equal steps
    # (floor((90 - 20) / 4) = 17 and floor((90 - 15) / 4) = 18).
    assert sizes == tuple(3 * share for share in (first, *(lowest + step * i for i in range(6))))


@pytest.mark.parametrize(
    ("sizes", "scales"),
    [
        (SSD_SIZES[512, "voc"], (0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05)),
        (SSD_SIZES[512, "coco"], (0.04, 0.1, 0.26, 0.42, 0.58, 0.74, 0.9, 1.06)),
    ],
)
def test_sizes_of_ssd512_are_scales_of_512(sizes, scales):
    assert sizes == pytest.approx([512 * scale for scale in scales], rel=1e-12)


def test_default_boxes_of_a_voc_preset():
    model = from_preset("ssd300_vgg16_voc", ["cat"])
    # Steps are 8, 16, ... and not 300 / 38: the last cell of the first row has its centre at
    # 37.5 * 8 = 300, and its first box is 30 pixels wide.
    assert model.default_box_array[37 * 4] * 300 == pytest.approx([-11, 285, 19, 315], abs=1e-4)
    # The last map's second box: sqrt(264 * 315) = 288.3748 pixels about 150.
    edges = [5.8126, 5.8126, 294.1874, 294.1874]
    assert model.default_box_array[8729] * 300 == pytest.approx(edges, abs=1e-3)


def test_options_replace_the_presets():
    model = from_preset(
        "ssdlite320_mobilenet_v2_coco",
        ["cat", "dog"],
        image_size=(96, 128),
        alpha=0.35,
        sizes=(10, 20, 30, 40, 50, 60, 70),
        post_process={"iou_threshold": 0.4, "clip_boxes": "before"},
    )
    # The preset's 0.001, 500 of all classes and 300 stay.
    expected = PostProcess(0.001, 0.4, 500, 300, clip_boxes="before", candidates_per_class=False)
    assert model.post_process == expected
    assert (model.image_size, model.class_names) == ((96, 128), ("cat", "dog"))
    assert [cell[0] for cell in model.default_boxes.shapes] == [(x, x) for x in range(10, 61, 10)]
    assert model.feature_sizes[:2] == ((6, 8), (3, 4))
    # The width multiplier 0.35: 96 * 0.35 = 33.6 becomes 32 channels, six times expanded.
    assert model.backbone.outputs[0].shape[-1] == 192


def test_parts_replace_the_presets():
    model = from_preset(
        "ssd192_small_shapes",
        ["cat"],
        image_size=(64, 96),
        width=4,
        neck=[
            {"type": "extra_layers", "layers": [[4, 8]], "style": {"activation": "relu6"}},
            {"type": "fpn", "filters": 12, "extra_levels": 1},
        ],
        head={"type": "shared", "filters": 12, "depth": 1},
        default_boxes={"type": "octaves", "levels": [3, 4, 5, 6], "scales_per_octave": 1},
        activation="sigmoid",
    )
    assert model.neck == (
        ExtraLayers((ExtraLayer(4, 8),), ConvStyle(activation="relu6")),
        FPN(12, extra_levels=1),
    )
    assert model.head == SharedHead(12, 1) and model.activation == "sigmoid"
    assert model.feature_sizes == ((8, 12), (4, 6), (2, 3), (1, 2))
    # One scale and three ratios: 3 boxes in each of 96 + 24 + 6 + 2 cells; 4 cells of 8 pixels.
    assert len(model.default_box_array) == 3 * 128
    assert model.default_boxes.shapes[0][0] == (32, 32)
    model = from_preset("ssd192_small_shapes", shapes=[[(9, 8)] * 4, *[[(20, 30)] * 4] * 3])
    assert model.default_boxes.shapes[0] == ((9, 8),) * 4 and model.default_boxes.steps is None


def test_sigmoid_scores_start_low():
    model = from_preset("ssd192_small_shapes", ["cat"], image_size=(64, 64), activation="sigmoid")
    assert model.head.prior_probability == 0.01
    bias = model.get_layer("class_head1").get_weights()[1]
    assert bias[:4] == pytest.approx([0, -4.59512, 0, -4.59512], abs=1e-5)  # log(0.01 / 0.99)
    head = SSDHead(prior_probability=None)
    model = from_preset("ssd192_small_shapes", activation="sigmoid", head=head)
    assert model.head.prior_probability is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neck": {"type": "fpm"}}, r"^neck 'fpm' is unknown; did you mean 'fpn'\?"),
        ({"head": {"type": "shared"}}, r"^SharedHead needs equally many boxes per cell and chan"),
        ({"default_boxes": {"type": "octave"}}, r"^default_boxes.type 'octave' is unknown; did"),
        ({"default_boxes": {"type": "octaves", "level": 3}}, r"'octaves': .*'level'"),
        ({"default_boxes": {"type": "octaves", "levels": [3, 2000]}}, r"'octaves': levels=.*16"),
        (
            {"default_boxes": {"type": "octaves", "aspect_ratios": [-1]}},
            r"'octaves': aspect_ratios=\(-1,\) must be above 0",
        ),
        ({"default_boxes": "paper"}, r"^default_boxes of type 'paper': .*'sizes'"),
        ({"neck": []}, r"describes 4 feature maps but the model has 2"),
        ({"default_boxes": {"type": "octaves"}}, r"describes 5 feature maps but the model has 4"),
    ],
)
def test_parts_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        from_preset("ssd192_small_shapes", image_size=(64, 64), width=4, **options)


def test_unknown_presets_and_options_are_named():
    with pytest.raises(
        ValueError,
        match=r"preset 'ssd300' is unknown; did you mean 'ssd300_vgg16_voc'\? `ssd-keras info p",
    ):
        from_preset("ssd300")
    with pytest.raises(
        ValueError,
        match=r"^preset 'ssd300_vgg16_voc': option 'atrus' is unknown; did you mean 'atrous'\?",
    ):
        from_preset("ssd300_vgg16_voc", atrus=False)
    with pytest.raises(ValueError, match=r"^preset '.*_voc': image_size is 300; expected a list"):
        from_preset("ssd300_vgg16_voc", image_size=300)
    message = r"^post_process: option 'iou' is unknown; did you mean 'iou_threshold'\? choose"
    with pytest.raises(ValueError, match=message):
        from_preset("ssd300_vgg16_voc", post_process={"iou": 0.4})
    with pytest.raises(ValueError, match=r"class_names is empty; pass the name of at least one"):
        from_preset("ssd192_small_shapes", [])
