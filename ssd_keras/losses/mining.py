"""Hard negative mining."""

from keras import ops

from ssd_keras.boxes.formats import Array


def mine_hard_negatives(
    background_loss: Array,
    is_negative: Array,
    num_positives: Array,
    negatives_per_positive: float,
    min_negatives: int = 0,
) -> Array:
    """Returns each image's negatives of the highest loss, bool [B, N] (paper section 2.2).

    `background_loss` and `is_negative` are [B, N], `num_positives` is [B].
    """
    background_loss = ops.where(is_negative, background_loss, -1.0)
    # The rank of each entry is the inverse permutation of the sort, which is a sort again.
    rank = ops.argsort(ops.argsort(-background_loss, axis=-1), axis=-1)
    num_negatives = ops.maximum(
        ops.floor(ops.cast(num_positives, "float32") * negatives_per_positive),
        float(min_negatives),
    )
    return ops.logical_and(is_negative, ops.cast(rank, "float32") < num_negatives[:, None])
