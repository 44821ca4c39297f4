"""Sums over the replicas of `tf.distribute`, each of which has a part of the batch.

Under JAX there are none: it runs one program over the whole batch.
"""

from typing import Any

import keras


def num_replicas() -> int:
    """Returns the number of replicas that run this step; 1 outside of `tf.distribute`."""
    replica = _replica_context()
    return 1 if replica is None else replica.num_replicas_in_sync


def sum_over_replicas(values: Any) -> Any:
    """Returns the sum over the replicas of each tensor."""
    return values if num_replicas() == 1 else _replica_context().all_reduce("sum", values)


def _replica_context() -> Any:
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context()
