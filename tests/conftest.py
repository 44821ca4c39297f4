"""What every test shares: a quiet environment, a fixed seed and the way to the shared data."""

import gc
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

# Set before anything imports TensorFlow, JAX or matplotlib; subprocesses inherit all of it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "Agg"
# XLA compiles small models for a few steps: its optimisations cost more than they save.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_multi_thread_eigen=false",
)

REPOSITORY = Path(__file__).resolve().parents[1]


# Folder for what is made once for all workers.
SHARED_FOLDER = "SSD_KERAS_TEST_FOLDER"


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[SHARED_FOLDER] = tempfile.mkdtemp()
        # Images that readers convert do not stay in the user's cache.
        os.environ["SSD_KERAS_CACHE"] = os.path.join(os.environ[SHARED_FOLDER], "cache")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(SHARED_FOLDER))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of shared data and weights; a test that needs it is skipped where it is absent."""
    named = os.environ.get("SSD_KERAS_SHARED")
    if named and not Path(named).is_dir():
        pytest.fail(f"SSD_KERAS_SHARED={named} is not a directory: correct it, or unset it")
    folder = Path(named) if named else REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(
            "NOT TESTED: the shared data are missing: put the folder `shared` (data/, weights/) "
            "beside the checkout, or name it in SSD_KERAS_SHARED"
        )
    return folder


def pytest_collection_finish() -> None:
    """Takes all that the imports have made out of later collections, which it would slow down."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def free_memory() -> Iterator[None]:
    """Frees the models of a file, and what JAX compiled, before the next one."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Seeds Python and NumPy, from which Keras' initializers draw.

    `keras.utils.set_random_seed` would also seed TensorFlow, which then drops every compiled
    function.
    """
    random.seed(0)
    np.random.seed(0)
