"""What a model costs between the legal cuts of its captured order: all that a split along it can be priced with.

Costs are whole nanoseconds and bytes, as ``optimizer.costs`` has them, with layers whole and in one precision; so
whoever adds them up, and simulates the schedule, gets what the planner does. A page does that in a browser.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from optimizer.costs import Costs, Problem, Rounds, members_of, names_of, nanoseconds, prefixes
from optimizer.errors import PartitionError
from optimizer.plan import Plan, most_simulated
from optimizer.planning import Planner, Schemes, scheme_cuts
from optimizer.schedule import PLAIN_1F1B, Pace, Schedule, factors, steady_minibatches
from optimizer.search import captured_order, solve
from profiler.commands import command, without
from profiler.profile import Profile
from profiler.report import counted, groups

FEWEST, MOST = 2, 8
"""Stages."""
BEST = "best"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The layers between two neighbouring legal cuts.

    Attributes:
        step_ns: Forward, backward and update, beside busy cores as profiled; ``alone_ns``, beside none.
        accumulate_ns: What adding up gradients comes to a minibatch; ``update_ns``, updating, and ``update_last_ns`` in
            the last stage.
        frozen_bytes: Parameters that do not learn; ``learning_bytes``, those that do.
        backward_ns: All of it; ``weight_gradients_ns``, what it leaves for later, if it is split.
        saved_bytes: Kept for the backward, ``cast_bytes`` of it once a weight version.
        rounds_ns: A step of them in each round of the profile.
    """

    layers: tuple[str, ...]
    border: bool
    step_ns: int
    alone_ns: int
    forward_ns: int
    backward_ns: int
    weight_gradients_ns: int
    accumulate_ns: float
    update_ns: float
    update_last_ns: float
    frozen_bytes: int
    learning_bytes: int
    saved_bytes: int
    left_bytes: int
    cast_bytes: int
    rounds_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What crosses a cut, down and up: what copying it takes, and its size.

    Attributes:
        after: The layers directly behind which it stands, one of each branch.
    """

    after: tuple[str, ...]
    down_ns: int
    up_ns: int
    down_bytes: int
    up_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A number of stages.

    Attributes:
        ahead: How many minibatches each stage has between forward and backward at most; ``between``, how many it holds
            at once, where backwards are split.
        steady: Between the ends of which backwards of the last stage throughput counts; from 0 on where nothing is
            steady.
        simulated: How many minibatches of unsteady stages are simulated; ``simulated_steady``, as ``steady``, of these.
        held: How often each stage holds learning bytes, saved and left ones, casts, and the activations and the
            gradients that cross behind and before it.
    """

    ahead: tuple[int, ...]
    between: int
    steady: tuple[int, int]
    simulated: int
    simulated_steady: tuple[int, int]
    held: tuple[tuple[int, ...], ...]
    splits: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A model along its captured order, and pipelines of two to eight stages for it.

    Attributes:
        form: In words; nothing where layers are whole, in float32.
        command: What plans for it again; nothing of a model that no command names.
        minibatches: Of a run.
        schedule: In words; ``update_every``, minibatches an update; ``synchronous``, whether all of an update use the
            same weights; ``splits``, whether backwards are split; ``meets``, whether stages wait for each other before
            an update.
        stretches: One more than ``cuts``.
        pace: How slow the machine was in each round, over the rounds around it, as a share of the usual.
        neighbours: Beside how many busy cores it was profiled; 0 where nothing tells how much less others disturb.
    """

    model: str
    form: str
    command: str
    batch_size: int
    minibatches: int
    schedule: str
    update_every: int
    synchronous: bool
    splits: bool
    meets: bool
    stretches: tuple[Stretch, ...]
    cuts: tuple[Cut, ...]
    loss_forward_ns: int
    loss_backward_ns: int
    loss_step_ns: int
    loss_alone_ns: int
    loss_rounds_ns: tuple[int, ...]
    pace: tuple[float, ...]
    heap_bytes: int
    neighbours: int
    one_core_s: float
    pipelines: Mapping[str, Pipeline]


def shown_first(chain: Chain, plan: Plan) -> tuple[tuple[int, ...] | None, str]:
    """Return a plan's split as counts of stretches before each cut, or None, and why it cannot be shown."""
    if plan.form.words != chain.form:
        return None, f"The plan is of the model {_as(plan.form.words)}, and here it is {_as(chain.form)}."
    if str(plan.num_stages) not in chain.pipelines:
        return None, f"The plan has {counted(plan.num_stages, 'stage')}, and here are {' or '.join(chain.pipelines)}."
    inside, seen = frozenset[str](), frozenset[str]()
    ends = {inside: 0}
    for at, own in enumerate(chain.stretches, 1):
        ends[inside := inside | set(own.layers)] = at
    cuts = [ends.get(seen := seen | set(layers)) for layers in plan.split[:-1]]
    if None in cuts:
        return None, "The plan's cuts do not lie along the captured order, and here all do."
    return tuple(cut for cut in cuts if cut is not None), ""


def _as(form: str) -> str:
    return f"in {form}" if form else "with its layers whole, in float32"


def chain_of(planner: Planner, schemes: Schemes, minibatches: int | None = None) -> Chain:
    """Return the chain of a model, with the best splits along it and those of the schemes.

    Args:
        planner: Plans for it with whole layers; the limits that it has are not kept here.
        schemes: By name.
        minibatches: Of a run; None: as the planner's.
    """
    costs, profile = planner.costs, planner.profile
    bounds = prefixes(costs.parts, len(costs.layers))
    stretches = [members_of(after & ~before) for before, after in pairwise(bounds)]
    rounds = Rounds(profile)
    pace, wanted = costs.pace, minibatches or planner.minibatches
    borders = {group[-1].name for group in groups(costs.layers)}
    return Chain(
        model=profile.model,
        form=profile.form.words,
        command=_command(profile, pace),
        batch_size=profile.batch_size,
        minibatches=wanted,
        schedule=pace.words,
        update_every=pace.update_every,
        synchronous=pace.rule.synchronous,
        splits=pace.rule.splits,
        meets=pace.meets,
        stretches=tuple(_stretch(costs, members, borders, rounds) for members in stretches),
        cuts=tuple(_cut(costs, ideal) for ideal in bounds[1:-1]),
        loss_forward_ns=costs.loss_forward_ns,
        loss_backward_ns=costs.loss_backward_ns,
        loss_step_ns=nanoseconds(profile.loss.step_s),
        loss_alone_ns=nanoseconds(profile.loss.alone_s or profile.loss.step_s),
        loss_rounds_ns=tuple(map(nanoseconds, rounds.loss_s)),
        pace=tuple(map(float, rounds.pace)),
        heap_bytes=costs.heap_bytes,
        neighbours=profile.neighbours,
        one_core_s=profile.lone_core_s,
        pipelines={
            str(stages): _pipeline(planner, stages, wanted, bounds, {} if profile.slicing else schemes)
            for stages in range(FEWEST, min(MOST, len(bounds) - 1) + 1)
        },
    )


def _command(profile: Profile, pace: Pace) -> str:
    """Return what plans for a profile again, in any number of stages; nothing where no options name its model alone."""
    if "--model" not in profile.typed:
        return ""
    words = without(profile.typed, "--stages")
    schedule = None if pace.name == PLAIN_1F1B.name else pace.name
    return command("plan", *words, schedule=schedule, update_every=pace.update_every if schedule else None)


def _stretch(costs: Costs, members: Sequence[int], borders: set[str], rounds: Rounds) -> Stretch:
    layers = [costs.layers[at] for at in members]

    def summed(times: Sequence[int]) -> int:
        return sum(times[at] for at in members)

    updates_ns = [
        summed(costs.in_place_ns if costs.pace.updates_in_place(last=last) else costs.beside_ns)
        for last in (False, True)
    ]
    adding_ns, splitting_ns = summed(costs.adding_ns), summed(costs.splitting_ns)
    (accumulate_ns, update_ns), (_, update_last_ns) = (
        costs.pace.price(adding_ns, splitting_ns, own_ns) for own_ns in updates_ns
    )
    frozen, learning, saved, left, casts = costs.bytes_of(members)
    return Stretch(
        layers=tuple(layer.name for layer in layers),
        border=layers[-1].name in borders,
        step_ns=sum(nanoseconds(layer.step_s) for layer in layers),
        alone_ns=sum(nanoseconds(layer.step_s if layer.alone_s is None else layer.alone_s) for layer in layers),
        forward_ns=summed(costs.forward_ns),
        backward_ns=summed(costs.backward_ns),
        weight_gradients_ns=summed(costs.weight_gradients_ns) if costs.pace.rule.splits else 0,
        accumulate_ns=accumulate_ns,
        update_ns=update_ns,
        update_last_ns=update_last_ns,
        frozen_bytes=frozen,
        learning_bytes=learning,
        saved_bytes=saved,
        left_bytes=left,
        cast_bytes=casts,
        rounds_ns=tuple(map(nanoseconds, rounds.took_s([layer.name for layer in layers]))),
    )


def _cut(costs: Costs, ideal: int) -> Cut:
    down, up = costs.crossing_bytes(ideal)
    return Cut(
        after=tuple(names_of(costs, ideal)),
        down_ns=costs.sending_ns(down),
        up_ns=costs.sending_ns(up),
        down_bytes=down,
        up_bytes=up,
    )


def _pipeline(planner: Planner, stages: int, minibatches: int, bounds: Sequence[int], schemes: Schemes) -> Pipeline:
    pace = planner.costs.pace.changed(None, stages, planner.costs.pace.update_every)
    schedule, simulated = Schedule(pace, stages, minibatches), min(minibatches, most_simulated(pace, stages))
    costs = replace(planner.costs, pace=pace)
    problem = Problem(costs, stages, minibatches)
    place_of = {ideal.bit_count(): at for at, ideal in enumerate(bounds)}
    best = solve(problem, captured_order(problem))
    splits = {BEST: tuple(place_of[ideal.bit_count()] for ideal in best.bounds[1:-1])} if best else {}
    legal = [ideal.bit_count() for ideal in bounds[1:-1]]
    for name, shares in schemes.items():
        try:
            cuts = scheme_cuts(shares, len(costs.layers), legal, stages)
        except PartitionError:
            continue
        splits[name] = tuple(place_of[cut] for cut in cuts)
    every = [factors(schedule, stage, costs.momenta) for stage in range(stages)]
    return Pipeline(
        ahead=tuple(pace.ahead(stages, stage) for stage in range(stages)),
        between=pace.held,
        steady=steady_minibatches(schedule),
        simulated=simulated,
        simulated_steady=steady_minibatches(replace(schedule, minibatches=simulated)),
        held=tuple((own.learning, own.saved, own.left, own.casts, *own.behind, *own.before) for own in every),
        splits=splits,
    )
