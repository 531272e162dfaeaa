"""Decide who goes on in the race: a split runs again as long as it may still be the fastest.

After each round the posterior of all speeds, of promises and runs, gives each split a chance: that nobody else is
faster than it by more than 1%. A split whose chance is below

    L = 2.5% ÷ (K − 1)

does not run in the next round, with K splits in all. It comes back should its chance rise again, as it does where later
rounds show that runs are noisier than the first ones looked.

Were the posterior's assumptions right, a split that is out would be the best with a chance below L. So the best would
be out with a chance below (K − 1) · L = 2.5%, however many rounds there are and whenever one looks: no correction for
looking often is due. They are not quite right, and 2.5% leave room for that. ``benchmarks/race.py`` simulates races
with promises that are off by 15%, in wrong order, with heavy tails, rare slow runs, and contenders of different noise.

Promises decide only who runs. What is said of the splits afterwards, and whether it is firm, rests on runs alone.

Source: racing after Maron and Moore, "Hoeffding races", NIPS 1993; that a posterior may be looked at after every run,
Berger and Wolpert, "The likelihood principle", 1984, section 4.2.
"""

from collections.abc import Mapping

from runtime.compare.posterior import Speeds, posterior

LEVEL = 0.025
"""The chance that the best is out, were all assumptions right."""


def out_of_the_race(speeds: Speeds, promises: Mapping[str, float]) -> list[str]:
    """Return which splits need not run in the next round.

    Args:
        speeds: Of all splits, with whatever runs they have; a run that failed has none.
        promises: What their plans promise, in samples/s.
    """
    ran = [name for name, own in speeds.items() if own]
    if len(ran) < 2:
        return []
    known = posterior(speeds, promises)
    return [name for name in ran if known.chance(name, ran) < LEVEL / (len(speeds) - 1)]
