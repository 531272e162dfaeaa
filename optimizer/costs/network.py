"""A network of ranks in whole numbers: how fast each is, and what a message over each link takes.

A stage sends its activations down and its gradients up: what a message takes is a term of the cut that it crosses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from optimizer.costs.costs import Costs, nanoseconds
from optimizer.errors import OptimizerError
from optimizer.plan import Link, NetworkProfile
from profiler.commands import command
from profiler.profile import Profile


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
        factors: What each rank takes for what takes the profile's core 1.
        down: Of each link, towards the next rank; likewise ``up``.
    """

    factors: tuple[Fraction, ...]
    down: tuple[Direction, ...]
    up: tuple[Direction, ...]

    def costs_at(self, rank: int, costs: Costs) -> Costs:
        """Return what layers cost on a rank."""
        factor = self.factors[rank]
        return costs if factor == 1 else _scaled(costs, factor)

    def messages_ns(self, cut: int, down_bytes: int, up_bytes: int) -> tuple[int, int]:
        """Return what the messages of a minibatch over a cut take, down and up."""
        return self.down[cut].message_ns(down_bytes), self.up[cut].message_ns(up_bytes)


def network_of(measured: NetworkProfile, profile: Profile) -> Network:
    """Return the network, its cores set against that of the profile by the steps of the same model.

    A core whose step lies within what is known of the profile's counts as equally fast.
    """
    _refuse_others(measured, profile)
    alone = profile.whole_step
    factors = []
    for step in (rank.step for rank in measured.ranks):
        alike = step.low_s <= alone.high_s and alone.low_s <= step.high_s
        factors.append(Fraction(1) if alike else Fraction(nanoseconds(step.median_s), nanoseconds(alone.median_s)))
    return Network(
        factors=tuple(factors),
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


def _scaled(costs: Costs, factor: Fraction) -> Costs:
    def scale(times_ns: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(round(time_ns * factor) for time_ns in times_ns)

    return replace(
        costs,
        forward_ns=scale(costs.forward_ns),
        backward_ns=scale(costs.backward_ns),
        weight_gradients_ns=scale(costs.weight_gradients_ns),
        adding_ns=scale(costs.adding_ns),
        splitting_ns=scale(costs.splitting_ns),
        beside_ns=scale(costs.beside_ns),
        in_place_ns=scale(costs.in_place_ns),
        loss_forward_ns=round(costs.loss_forward_ns * factor),
        loss_backward_ns=round(costs.loss_backward_ns * factor),
        values=tuple(
            replace(
                value,
                copy_output_ns=round(value.copy_output_ns * factor),
                copy_gradient_ns=round(value.copy_gradient_ns * factor),
            )
            for value in costs.values
        ),
    )
