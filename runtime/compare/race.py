"""Decide who goes on in the race: a split runs again as long as it may still be the fastest.

After each round the posterior of all speeds, of promises and runs, gives each split that is still in the race a chance:
that nobody else in the race is faster than it by more than 1%. A split whose chance is below

    L = 2.5% ÷ (K − 1)

is out, with K splits in all. Whoever is out stays so.

Were the posterior's assumptions right, a split would be the best, when it is dropped, with a chance below L; and each
is dropped once at most. So the best would be dropped in fewer than (K − 1) · L = 2.5% of races, however many rounds
there are and whenever one looks: no correction for looking often is due. They are not quite right, and 2.5% leave room
for that. ``benchmarks/race.py`` simulates races with promises that are off by 15%, in wrong order, with heavy
tails, rare slow runs, and contenders of different noise.

Promises decide only who runs. What is said of the splits afterwards, and whether it is firm, rests on runs alone.

Source: racing after Maron and Moore, "Hoeffding races", NIPS 1993; that a posterior may be looked at after every run,
Berger and Wolpert, "The likelihood principle", 1984, section 4.2.
"""

from collections.abc import Collection, Mapping

from runtime.compare.posterior import Speeds, posterior

LEVEL = 0.025
"""The chance of dropping the best over the whole race, were all assumptions right."""


def out_of_the_race(speeds: Speeds, promises: Mapping[str, float], racing: Collection[str]) -> list[str]:
    """Return which of those that are ``racing`` need no further run.

    Args:
        speeds: Of all splits, those that were dropped before among them; a run that failed has none.
        promises: What their plans promise, in samples/s.
        racing: Who has not been dropped.
    """
    ran = [name for name, own in speeds.items() if own and name in racing]
    if len(ran) < 2:
        return []
    known = posterior(speeds, promises)
    return [name for name in ran if known.chance(name, ran) < LEVEL / (len(speeds) - 1)]
