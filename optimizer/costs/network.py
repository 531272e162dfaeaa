"""A network of ranks in whole numbers: how fast each is, and what a message over each link takes.

A stage sends its activations down and its gradients up: what a message takes is a term of the cut that it crosses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from optimizer.costs.costs import Costs, costs_of, nanoseconds
from optimizer.errors import OptimizerError
from optimizer.plan import Link, NetworkProfile
from optimizer.schedule import Pace
from profiler.commands import command
from profiler.profile import Profile

ALIKE = Fraction(1, 20)
"""Cores that differ by less count as equally fast: so much one core differs from itself within an hour."""


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a link: straight lines between the measured sizes, and on as the last one goes.

    Attributes:
        sizes: In bytes, ascending.
        times_ns: What a message of that size takes; never less than a smaller one.
    """

    sizes: tuple[int, ...]
    times_ns: tuple[int, ...]

    def message_ns(self, size: int) -> int:
        """Return what a message of ``size`` bytes takes; one without bytes is not sent."""
        if not size:
            return 0
        lines = list(zip(pairwise(self.sizes), pairwise(self.times_ns), strict=True))
        (start, end), (least_ns, most_ns) = next((line for line in lines if size <= line[0][1]), lines[-1])
        return least_ns + (most_ns - least_ns) * max(0, size - start) // (end - start)


@dataclass(frozen=True, slots=True)
class Network:
    """The ranks that a plan is for.

    Attributes:
        factors: What each rank takes for what takes the profile's core 1; ``costs``, what layers cost there.
        down: Of each link, towards the next rank; likewise ``up``.
    """

    factors: tuple[Fraction, ...]
    costs: tuple[Costs, ...]
    down: tuple[Direction, ...]
    up: tuple[Direction, ...]


def network_of(measured: NetworkProfile, profile: Profile, pace: Pace) -> Network:
    """Return the network, its cores set against that of the profile by the steps of the same model.

    A core whose step is within ``ALIKE`` of the profile's counts as equally fast.
    """
    _refuse_others(measured, profile)
    factors = [Fraction(nanoseconds(rank.step_s), nanoseconds(profile.whole_step_s)) for rank in measured.ranks]
    factors = [Fraction(1) if abs(factor - 1) <= ALIKE else factor for factor in factors]
    return Network(
        factors=tuple(factors),
        costs=tuple(costs_of(profile, pace, factor) for factor in factors),
        down=tuple(_direction(link, link.down_s) for link in measured.links),
        up=tuple(_direction(link, link.up_s) for link in measured.links),
    )


def _refuse_others(measured: NetworkProfile, profile: Profile) -> None:
    """Refuse links that were measured for another model or other sizes than the profile has."""
    for name in ("model", "model_digest", "batch_size", "input_shape", "precision", "slicing"):
        theirs, ours = getattr(measured, name), getattr(profile, name)
        if theirs != ours:
            raise OptimizerError(
                f"the links were measured for {name.replace('_', ' ')} {theirs or 'none'} and the profile is of "
                f"{ours or 'none'}; measure them again with {command('links', *profile.typed)}, for the same model and "
                "sizes"
            )


def _direction(link: Link, times_s: Sequence[float]) -> Direction:
    """Return what messages take one way, given times by the link's sizes; a larger one never takes less."""
    rising = [nanoseconds(time_s) for time_s in times_s]
    return Direction(link.sizes_bytes, tuple(max(rising[: at + 1]) for at in range(len(rising))))
