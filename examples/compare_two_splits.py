"""Run the best split and an even one of a model that is in memory, in turn, and compare them."""

from digits import network, sample

import stageplan

if __name__ == "__main__":
    comparison = stageplan.compare(
        network(), sample(), stages=2, partitions=["optimized", "equal-load"], repeats=2, minibatches=200, slice="none"
    )
    print(comparison)
