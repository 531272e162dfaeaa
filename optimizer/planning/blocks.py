"""Cut a sequence of weights into blocks of nearly equal weight, as torchgpipe balances a model.

From equal counts, while the largest block p exceeds the smallest block q by more than one element may weigh, the
neighbour of q towards p hands its nearest element to q. In the end no two blocks differ by more than the heaviest
element: block sizes lie close together, which is not the same as a small largest block. At most O(blocks · n³) steps.

Source: Bárány and Grinberg, "Block partitions of sequences", Israel Journal of Mathematics 206, 2015.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise


def block_partition(weights: Sequence[int], blocks: int) -> list[int]:
    """Return the cuts, ascending, as counts of elements before them.

    Weights are taken above the lightest element's, as torchgpipe takes them, so a block may be left without elements.

    Args:
        weights: What each element weighs; at least one.
        blocks: How many blocks, from 1 up.
    """
    lightest = min(weights)
    total = [0, *accumulate(weight - lightest for weight in weights)]
    heaviest = max(weights) - lightest
    ends = [0, *(len(weights) // blocks * block for block in range(1, blocks)), len(weights)]
    while True:
        sizes = _sizes(total, ends)
        largest = max(range(blocks), key=lambda block: (sizes[block], block))
        giver = None
        while giver != largest:
            smallest = min(range(blocks), key=sizes.__getitem__)
            if sizes[largest] <= sizes[smallest] + heaviest:
                return ends[1:-1]
            if largest < smallest:
                giver = smallest - 1
                ends[smallest] -= 1
            else:
                giver = smallest + 1
                ends[smallest + 1] += 1
            sizes = _sizes(total, ends)


def _sizes(total: Sequence[int], ends: Sequence[int]) -> list[int]:
    return [total[end] - total[start] for start, end in pairwise(ends)]
