"""Hard negative mining."""

from keras import ops

from ssd_keras.losses.normalized import Tensor


def mine_hard_negatives(
    background_loss: Tensor,
    is_negative: Tensor,
    num_positives: Tensor,
    negatives_per_positive: float,
    min_negatives: int = 0,
) -> Tensor:
    """Selects each image's negatives of the highest loss (paper section 2.2)."""
    background_loss = ops.where(is_negative, background_loss, -1.0)
    # The rank of each entry is the inverse permutation of the sort, which is a sort again.
    rank = ops.argsort(ops.argsort(-background_loss, axis=-1), axis=-1)
    wanted = ops.maximum(
        ops.floor(ops.cast(num_positives, "float32") * negatives_per_positive),
        float(min_negatives),
    )
    return ops.logical_and(is_negative, ops.cast(rank, "float32") < wanted[:, None])
