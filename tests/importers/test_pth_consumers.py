"""Files that PyTorch writes, in both of its formats, against what PyTorch reads in them."""

import argparse
import functools
import json
from pathlib import Path

import numpy as np
import pytest
from gold import torch_weights
from pth_files import pth_file

from ssd_keras.importers.pth import read_pth

try:
    import torch
except ModuleNotFoundError:
    torch = None

pytestmark = [
    pytest.mark.consumers,
    pytest.mark.skipif(torch is None, reason="NOT TESTED: PyTorch is not installed"),
    # Types that PyTorch will remove, and what it says of its own old format.
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]
GOLD = Path(__file__).parents[1] / "gold"
NETWORKS = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large", "resnet18", "resnet50")
CALL = r"is refused: reading it would call {}; nothing was run\. Expected arrays alone: pass a "


@pytest.fixture(params=[True, False], ids=["zip", "old"])
def save(request, tmp_path):
    """Writes a file in one of the formats and returns its path."""

    def write(content, **options) -> str:
        path = str(tmp_path / "a.pth")
        torch.save(content, path, _use_new_zipfile_serialization=request.param, **options)
        return path

    return write


@functools.lru_cache(maxsize=1)
def published_state(name):
    """Random weights of a network's published names and shapes, with its counters."""
    with np.load(GOLD / f"import_{name}.npz") as gold:
        arrays = torch_weights.random_state(json.loads(str(gold["shapes"])))
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for name in arrays:
        if name.endswith("running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            state[counter] = torch.tensor(5)
    return state


def assert_as_pytorch(path, choose=lambda content: content):
    """The tensors of floating point that PyTorch finds, as float32, in the same order."""
    # `weights_only` reads protocols 2 and 3 alone.
    loaded = choose(torch.load(path, map_location="cpu", weights_only=False))
    expected = {name: x for name, x in loaded.items() if x.is_floating_point()}
    found = read_pth(path)
    assert list(found) == list(expected) and len(found) > 0
    for name, tensor in expected.items():
        assert found[name].dtype == np.float32
        array = tensor.detach().to(torch.float32).numpy()
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_published_names_and_shapes(save, name):
    state = published_state(name)
    path = save(state)
    assert_as_pytorch(path)
    assert {key: list(array.shape) for key, array in read_pth(path).items()} == {
        key: list(tensor.shape) for key, tensor in state.items() if "tracked" not in key
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_state_dict_of_modules(save, protocol):
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.PReLU()
    assert_as_pytorch(save(torch.nn.Sequential(*layers).state_dict(), pickle_protocol=protocol))


def test_views_and_types(save):
    base = torch.arange(24.0).reshape(4, 6) / 7
    tensors = {
        "whole": base, "transposed": base.t(), "every second": base[1:3, ::2],
        "expanded": torch.ones(1).expand(3, 4), "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5), "half": base[0].half(), "double": base.double(),
        "bfloat16": base.bfloat16().t(), "bfloat16 scalar": torch.tensor(1.5).bfloat16(),
        "parameter": torch.nn.Parameter(base[0]), "four axes": torch.rand(2, 3, 4, 5),
        "last axis first": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "whole numbers": torch.arange(3), "truth": torch.tensor([True]),
        "complex": torch.ones(2, dtype=torch.complex64),
        "not finite": torch.tensor([float("nan"), float("-inf")]),
    }  # fmt: skip
    assert_as_pytorch(save(tensors))
    found = read_pth(save(tensors))
    assert np.shares_memory(found["whole"], found["transposed"])


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_checkpoint_with_an_optimizer(save, key):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    content = {"epoch": 3, key: model.state_dict(), "optimizer": optimizer.state_dict()}
    content |= {"schedule": schedule.state_dict(), "rng": torch.get_rng_state()}
    content |= {"shape": model.weight.shape, "dtype": torch.float32, "best": [0.25, None, True]}
    assert_as_pytorch(save(content), lambda loaded: loaded[key])


class Harmful:
    """Writes a file when it is unpickled, as only code can."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_in_a_file_does_not_run(save, tmp_path):
    marker = tmp_path / "done"
    path = save({"backbone.scale_weight": torch.ones(512), "x": Harmful(marker)})
    with pytest.raises(ValueError, match=CALL.format(r"\w*io\.open")):
        read_pth(path)
    assert not marker.exists()
    # In other hands the same file does harm.
    torch.load(path, weights_only=False)["x"].close()
    assert marker.exists()


REFUSED = {
    "a model": (
        lambda: torch.nn.Linear(2, 2), CALL.format(r"torch\.nn\.modules\.linear\.Linear"),
    ),
    "arguments": (
        lambda: {"model": {}, "args": argparse.Namespace(lr=0.1)},
        CALL.format(r"argparse\.Namespace"),
    ),
    "numbers of NumPy": (
        lambda: {"model": {}, "best": np.float64(1)}, CALL.format(r"numpy\S+\.scalar"),
    ),
    "a sparse tensor": (lambda: {"a": torch.eye(3).to_sparse()}, "holds a sparse tensor "),
    "a quantised tensor": (
        lambda: {"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)},
        "holds a quantised tensor ",
    ),
    "float8": (
        lambda: {"a": torch.ones(3).to(torch.float8_e4m3fn)},
        "holds a tensor of another type, such as float8 ",
    ),
    "no values": (
        lambda: {"a": torch.ones(3, device="meta")}, "holds a tensor without values ",
    ),
    "a tensor": (lambda: torch.ones(3), "holds a Tensor without weights; "),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_state_dict_is_named(save, kind):
    make, message = REFUSED[kind]
    with pytest.raises(ValueError, match=rf"^'.*a\.pth' {message}"):
        read_pth(save(make()))


def test_torchscript_is_named(tmp_path):
    path = str(tmp_path / "a.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(ValueError, match=r"a\.pt' is a TorchScript archive, which is a program; "):
        read_pth(path)


@pytest.mark.parametrize("is_zipped", [True, False])
def test_the_files_of_the_other_tests_are_pytorchs(tmp_path, is_zipped):
    arrays = {"a": np.float32([[1, 2, 3]]), "b": np.float16([0.5]), "n": np.int64(7)}
    path = tmp_path / "a.pth"
    path.write_bytes(pth_file(arrays, is_zipped))
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name].numpy(), array, strict=True)
