"""What the correction for staleness costs: steps with it and without, in turn.

    python benchmarks/correction_cost.py --model alexnet resnet50 vgg16 --batch-size 1 16
    python benchmarks/correction_cost.py --model alexnet --batch-size 1 --schedule 1f1b 2bw

The first times plain steps of whole models, whose every weight is updated late. In a pipeline it costs less, which the
second times in two stages: the last stage of 1f1b is never late, and under 2bw several minibatches share an update.
"""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any

import stageplan
from profiler.capture import captured_live, captured_model, live_model, minibatch
from profiler.execution import correction
from profiler.machine import pin, this_machine, usable_cores
from profiler.measure import Clocks, stepper_for
from profiler.settings import Config, UpdateRule
from runtime.pipeline import Execution, cores_for
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

RULES = {"sgd": UpdateRule(lr=0.0, momentum=0.9), "adamw": UpdateRule(name="adamw", lr=0.0, weight_decay=0.01)}
STAGES, MINIBATCHES = 2, 48


def in_turn(seconds_of: Callable[[bool], float], pairs: int) -> tuple[list[float], list[float]]:
    """Time without the correction and with it, in turn: the seconds without, and how much longer it takes with it."""
    shares, plain_s = [], []
    for number in range(pairs):
        times_s = {correct: seconds_of(correct) for correct in ((False, True) if number % 2 else (True, False))}
        shares.append(times_s[True] / times_s[False] - 1)
        plain_s.append(times_s[False])
    return plain_s, shares


def shares_of_steps(config: Config, rule: UpdateRule, pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of plain steps on one core, and for each how much longer a corrected one takes."""
    pin(usable_cores()[-1])
    captured = captured_model(config)
    stepper = stepper_for(captured, minibatch(config, captured), rule, 2, Clocks())
    stepper.versions.place_gradients(stepper.segment.placeable, fused=True)
    stepper.warm_up()

    def seconds_of(correct: bool) -> float:  # noqa: FBT001
        own = correction(replace(rule, correct_staleness=correct), 1)
        stepper.versions._correction = own  # noqa: SLF001 - the same weights, in the same memory
        return stepper.plain_step()

    return in_turn(seconds_of, pairs)


def shares_of_pipelines(config: Config, rule: UpdateRule, schedule: Any, pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds a minibatch takes in two stages, and how much longer with corrected updates."""
    captured = captured_model(config)
    batch = minibatch(config, captured)
    sharing = {"schedule": schedule, "update_every": 4} if schedule == "2bw" else {}
    plan = stageplan.plan(stageplan.profile(captured.model, batch[0], budget_s=20), stages=STAGES, **sharing)
    whole = captured_live(live_model(captured.model, batch[0], None), plan.form)
    with WorkerPool(cores_for(STAGES, usable_cores())) as pool, ExitStack() as stack:
        executions = {
            correct: stack.enter_context(
                Execution(
                    whole, pool,
                    Settings(rule=replace(rule, correct_staleness=correct), seed=0, pace=plan.pace, on_nan="warn"),
                )
            )
            for correct in (False, True)
        }  # fmt: skip

        def seconds_of(correct: bool) -> float:  # noqa: FBT001
            return config.batch_size / executions[correct].run(plan, MINIBATCHES).throughput_samples_per_s

        return in_turn(seconds_of, pairs)


def main() -> None:
    """Print for each model and batch size the share of a step, the median of pairs and their range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--rule", choices=RULES, default="sgd")
    parser.add_argument("--schedule", nargs="+", choices=["1f1b", "2bw"], help="in pipelines of two stages")
    parser.add_argument("--pairs", type=int, default=9)
    options = parser.parse_args()
    print(f"{this_machine().cpu}, {options.rule}")
    rule = RULES[options.rule]
    for name in options.model:
        for batch_size in options.batch_size:
            config = Config(model=name, batch_size=batch_size)
            for schedule in options.schedule or [None]:
                plain_s, shares = (
                    shares_of_pipelines(config, rule, schedule, options.pairs)
                    if schedule
                    else shares_of_steps(config, rule, options.pairs)
                )
                spread = f"{min(shares):+.1%} – {max(shares):+.1%}"
                where = f"{schedule}, {STAGES} stages" if schedule else "one core"
                step = f"{1000 * median(plain_s):.0f} ms | {median(shares):+.1%} ({spread})"
                print(f"| {name} | {batch_size} | {where} | {step} |", flush=True)


if __name__ == "__main__":
    main()
