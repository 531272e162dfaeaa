"""What the correction for staleness costs: plain steps of whole models, with it and without, in turn.

    python benchmarks/correction_cost.py --model alexnet resnet50 vgg16 --batch-size 1 16

In a pipeline it costs less: the last stage of 1f1b is never late, and under 2bw several minibatches share an update.
"""

import argparse
from dataclasses import replace
from statistics import median

from profiler.capture import captured_model, minibatch
from profiler.execution import correction
from profiler.machine import pin, this_machine, usable_cores
from profiler.measure import Clocks, stepper_for
from profiler.settings import Config, UpdateRule

RULES = {"sgd": UpdateRule(lr=0.0, momentum=0.9), "adamw": UpdateRule(name="adamw", lr=0.0, weight_decay=0.01)}


def main() -> None:
    """Print for each model and batch size the share of a step, the median of pairs and their range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--rule", choices=RULES, default="sgd")
    parser.add_argument("--pairs", type=int, default=9)
    options = parser.parse_args()
    pin(usable_cores()[-1])
    print(f"{this_machine().cpu}, {options.rule}")
    rule = RULES[options.rule]
    for name in options.model:
        for batch_size in options.batch_size:
            config = Config(model=name, batch_size=batch_size)
            captured = captured_model(config)
            stepper = stepper_for(captured, minibatch(config, captured), rule, 2, Clocks())
            stepper.versions.place_gradients(stepper.segment.placeable, fused=True)
            stepper.warm_up()
            shares, plain_s = [], []
            for _ in range(options.pairs):
                times_s = []
                for correct in (False, True):
                    own = correction(replace(rule, correct_staleness=correct), 1)
                    stepper.versions._correction = own  # noqa: SLF001 - the same weights, in the same memory
                    times_s.append(stepper.plain_step())
                shares.append(times_s[1] / times_s[0] - 1)
                plain_s.append(times_s[0])
            spread = f"{min(shares):+.1%} – {max(shares):+.1%}"
            print(
                f"| {name} | {batch_size} | {1000 * median(plain_s):.0f} ms | {median(shares):+.1%} ({spread}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
