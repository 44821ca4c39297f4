"""NMS in keras.ops on every backend, against the oracle.

tests/models/test_post_process.py puts all kernels to the same tests.
"""

import numpy as np
import oracle
import pytest
from keras import ops
from post_processing import bound

from ssd_keras.boxes import nms
from ssd_keras.models.post_process import PostProcess

pytestmark = pytest.mark.backends

VARIANCES = (0.1, 0.2, 0.25, 0.5)
DEFAULT_BOXES = oracle.default_boxes(
    (96, 128), [(12, 16), (6, 8), (3, 4)], (14, 30, 60, 90), ((2,), (2, 3), (2,))
)


def random_outputs():
    """Deltas and logits of three images: none found, some and many."""
    generator = np.random.default_rng(5)
    deltas = generator.normal(0, 0.6, (3, len(DEFAULT_BOXES), 4)).astype("float32")
    logits = generator.normal(0, 1.2, (3, len(DEFAULT_BOXES), 5)).astype("float32")
    logits[..., 0] += np.float32([30, 6, 1])[:, None]
    return {"box_deltas": deltas, "class_logits": logits}


@pytest.mark.parametrize(
    "post_process",
    [
        PostProcess(0.02, 0.4, 60, 50),
        PostProcess(0.02, 0.4, 90, 50, clip_boxes="before", candidates_per_class=False),
        PostProcess(0.02, 0.4, 60, 20, 5, clip_boxes="after"),
        PostProcess(0.02, 0.4, 90, 20, 6, candidates_per_class=False),
        PostProcess(0.02, 0.4, 90, 20, 9, class_agnostic=True),
    ],
    ids=["each class", "all classes", "few of each", "few of all", "class-agnostic"],
)
def test_parallel_nms_against_the_oracle(post_process):
    outputs = random_outputs()
    for images in (slice(0, 3), slice(2, 3)):
        batch = {name: value[images] for name, value in outputs.items()}
        found = bound(post_process, DEFAULT_BOXES, VARIANCES)(batch, nms.parallel)
        found = {key: ops.convert_to_numpy(value) for key, value in found.items()}
        expected = oracle.detections(
            *batch.values(), DEFAULT_BOXES, VARIANCES, **post_process.get_config()
        )
        counts = [len(one) for one in expected]
        assert counts[-1] == post_process.max_detections
        np.testing.assert_array_equal(found["num_detections"], counts)
        assert found["labels"].dtype == found["num_detections"].dtype == np.int32
        for image, detections in enumerate(expected):
            for slot, (box, score, label) in enumerate(detections):
                assert found["labels"][image, slot] == label
                assert found["scores"][image, slot] == pytest.approx(score, abs=2e-6)
                np.testing.assert_allclose(found["boxes"][image, slot], box, atol=5e-6)
            for key in ("boxes", "scores", "labels"):
                np.testing.assert_array_equal(found[key][image, len(detections) :], 0)


def plain_greedy(in_conflict, is_candidate):
    kept = []
    for i in np.flatnonzero(is_candidate):
        if not any(in_conflict[i, j] for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("density", [0.02, 0.2, 0.7])
def test_greedy_nms_on_random_conflicts(density):
    generator = np.random.default_rng(3)
    in_conflict = generator.random((4, 60, 60)) < density
    in_conflict |= in_conflict.transpose(0, 2, 1)
    is_candidate = generator.random((4, 60)) < 0.8
    kept = ops.convert_to_numpy(nms.greedy_nms(ops.array(in_conflict), ops.array(is_candidate)))
    for image in range(4):
        expected = plain_greedy(in_conflict[image], is_candidate[image])
        assert 1 < len(expected) < is_candidate[image].sum()
        assert np.flatnonzero(kept[image]).tolist() == expected


def test_greedy_nms_on_the_longest_chain():
    # Each box is in conflict with its neighbours alone: every second stays, after as many rounds.
    in_conflict = np.eye(41, k=1, dtype=bool) | np.eye(41, k=-1, dtype=bool)
    kept = ops.convert_to_numpy(nms.greedy_nms(ops.array(in_conflict), ops.ones(41, "bool")))
    assert kept.tolist() == [index % 2 == 0 for index in range(41)]
