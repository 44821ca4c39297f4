"""Sums over the replicas of `tf.distribute`, each of which sees a part of the batch.

JAX needs none: it runs one program over the whole batch.
"""

from typing import Any

import keras


def num_replicas() -> int:
    """How many replicas run this step together; 1 outside of `tf.distribute`."""
    replica = _replica()
    return 1 if replica is None else replica.num_replicas_in_sync


def sum_over_replicas(values: Any) -> Any:
    """The sum over the replicas of each tensor."""
    return values if num_replicas() == 1 else _replica().all_reduce("sum", values)


def _replica():
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context()
