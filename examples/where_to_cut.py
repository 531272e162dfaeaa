"""Where to cut a model that is in memory: three lines."""

from digits import network, sample

import stageplan

if __name__ == "__main__":
    profile = stageplan.profile(network(), sample(), budget_s=5)
    print(profile)
    print(stageplan.plan(profile, stages=2))
