"""Made-up comparisons: real plans of made-up profiles, and runs with whatever figures a test wants."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from unittest.mock import patch

from strategies import MACHINE, chain

from optimizer.plan import Plan
from optimizer.planning import Models, Planner, load_schemes, plan_for
from profiler.profile import Profile
from profiler.settings import UpdateRule
from runtime.compare import ONE_CORE, Comparison, Contender, Request, RunRecord, new_comparison, plain_pytorch
from runtime.results import Clock, StageMeasurement

MINIBATCHES = 8


def planner(profile: Profile | None = None, stages: int = 2) -> Planner:
    return Planner((profile or chain([1, 1, 1, 9])), stages, MINIBATCHES)


def plans(*names: str, profile: Profile | None = None, stages: int = 2) -> dict[str, Plan]:
    found = Models(planner(profile, stages))
    return {name: plan_for(name, found, load_schemes()) for name in names}


def request(**changes: object) -> Request:
    wanted = Request(
        model="test", batch_size=2, input_shape=(2, 3, 4, 4), minibatches=MINIBATCHES, num_stages=2, cores=(0, 1),
        schedule="1f1b", update_every=1, channel="shm", rule=UpdateRule(lr=0.01), data="", slice="none",
        asked=("optimized", "end-load"), repeats=3, full=True,
    )  # fmt: skip
    return replace(wanted, **changes)  # type: ignore[arg-type]


def empty(
    named: Mapping[str, Plan],
    profile: Profile | None = None,
    beside: Sequence[Contender] = (),
    **changes: object,
) -> Comparison:
    clock: Clock = changes.pop("clock", "wall")  # type: ignore[assignment]
    wanted = request(asked=tuple(named), **changes)
    with (
        patch("runtime.compare.begin.this_machine", lambda: MACHINE),
        patch("runtime.compare.begin.core_count", lambda cores: len(set(cores))),
    ):
        own = profile or chain([1, 1, 1, 9])
        found = new_comparison(
            wanted,
            clock,
            named,
            own,
            whole=own,
            plain=False,
            left_out=[],
            forms="",
        )
    found = replace(found, contenders=(*found.contenders, *beside))
    return replace(found, began_at="2026-01-01T00:00:00+00:00", command="python -m runtime compare")


def asked(found: Comparison, **changes: object) -> Comparison:
    """The same comparison, had something else been asked for."""
    return replace(found, request=replace(found.request, **changes))  # type: ignore[arg-type]


def with_runs(found: Comparison, runs: Sequence[RunRecord]) -> Comparison:
    """The same comparison after these runs alone, in this order."""
    ran = [replace(run, number=at) for at, run in enumerate(runs)]
    contenders = [replace(own, runs=tuple(run for run in ran if run.name == own.name)) for own in found.contenders]
    return replace(found, contenders=tuple(contenders))


def measured(plan: Plan, slower: float = 1.0, load: float = 0.0, peak: int | None = 1 << 20) -> list[StageMeasurement]:
    """Stages that take so many times as long as planned, copies aside."""
    return [
        StageMeasurement(
            forward_s=stage.forward_s * slower,
            backward_s=stage.backward_s * slower,
            weights_s=0.0,
            update_s=stage.update_s * slower,
            send_s=stage.send_s,
            took_s=(stage.compute_s + stage.accumulate_s + stage.update_s) * slower + stage.send_s,
            wait_s=0.0,
            foreign_load=load,
            peak_rss_bytes=peak,
        )
        for stage in plan.stages
    ]


def record(
    name: str,
    number: int,
    speed: float,
    stages: Sequence[StageMeasurement] = (),
    *,
    failure: str | None = None,
) -> RunRecord:
    drawn = not failure and number == 1 and stages
    return RunRecord(
        number=0,
        round=number,
        name=name,
        seconds=1.0,
        throughput_samples_per_s=0.0 if failure else speed,
        makespan_s=0.0 if failure else 16 / speed,
        stages=() if failure else tuple(stages),
        failure=failure,
        timeline=((("F", 0, 0.0, 0.5), ("B", 0, 1.0, 1.5)), (("F", 0, 0.5, 1.0),)) if drawn else (),
    )


def comparison(
    speeds: Mapping[str, Sequence[float | None]] | None = None,
    *,
    named: Mapping[str, Plan] | None = None,
    profile: Profile | None = None,
    plain: Sequence[float] = (),
    one_core: Sequence[float] | None = None,
    slower: float = 1.0,
    load: float = 0.0,
    **changes: object,
) -> Comparison:
    """A comparison whose runs had these speeds, round by round; None is a run that failed.

    Plain PyTorch runs if it has speeds, with a thread for each stage. One core was as fast as when it was profiled if
    nothing else is said.
    """
    speeds = speeds or {"optimized": (20.0, 40.0, 30.0), "end-load": (10.0, 15.0, 12.0)}
    named = named or plans(*speeds)
    first = len(next(iter(named.values())).stages)
    beside = [plain_pytorch(first)] if plain else []
    begin = empty(named, profile, beside, **{"repeats": len(next(iter(speeds.values()))), **changes})
    runs = []
    for name, values in speeds.items():
        for number, speed in enumerate(values, 1):
            stages = measured(named[name], slower, load)
            failure = None if speed else f"stage 1 of {name} was ended by SIGKILL"
            runs.append(record(name, number, speed or 1.0, stages, failure=failure))
    runs += [record(own.name, number, speed) for own in beside for number, speed in enumerate(plain, 1)]
    if one_core is None:
        one_core = (begin.request.batch_size / begin.plain_step_s,) * begin.request.repeats
    runs += [record(ONE_CORE, number, speed) for number, speed in enumerate(one_core, 1)]
    return with_runs(begin, runs)
