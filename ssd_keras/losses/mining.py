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
    """Selects each image's negatives of the highest loss (paper section 2.2).

    Args:
        background_loss: float [B, N], cross-entropy of each default box against background.
        is_negative: bool [B, N], the default boxes that may be selected.
        num_positives: int [B], matched default boxes of each image.
        negatives_per_positive: how many negatives for one positive, 3 in the paper. An image's
            product with its positives is rounded down.
        min_negatives: at least so many, even for an image without objects. Default 0, as in
            the paper's implementation.

    Returns:
        bool [B, N], true for the selected negatives. Ties go to the lower default box.

    Example:

    >>> losses, free = ops.array([[3., 9., 1., 2.]]), ops.array([[True, False, True, True]])
    >>> ops.convert_to_numpy(mine_hard_negatives(losses, free, ops.array([1]), 2))
    array([[ True, False, False,  True]])
    """
    background_loss = ops.where(is_negative, background_loss, -1.0)
    # The rank of each entry is the inverse permutation of the sort, which is a sort again.
    rank = ops.argsort(ops.argsort(-background_loss, axis=-1), axis=-1)
    wanted = ops.maximum(
        ops.floor(ops.cast(num_positives, "float32") * negatives_per_positive),
        float(min_negatives),
    )
    return ops.logical_and(is_negative, ops.cast(rank, "float32") < wanted[:, None])
