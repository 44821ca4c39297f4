"""The dtype policy within a block and after it."""

import keras
import pytest

from ssd_keras.core.precision import dtype_policy


def test_the_previous_policy_returns_also_after_an_error():
    before = keras.config.dtype_policy()
    with pytest.raises(KeyError), dtype_policy("mixed_bfloat16"):
        assert keras.layers.Dense(1).dtype_policy.name == "mixed_bfloat16"
        raise KeyError
    assert keras.config.dtype_policy() == before
    with dtype_policy(keras.DTypePolicy("float16")):
        assert keras.config.dtype_policy().name == "float16"
    assert keras.config.dtype_policy() == before
