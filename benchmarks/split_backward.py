"""What a backward in two costs: the same step with its backward in one and in two, in turn, layer kind by layer kind.

    python benchmarks/split_backward.py --model alexnet resnet50 vgg16 language-model --batch-size 4

For each model, on one core: forward and both parts of the backward over forward and the backward in one (median of the
rounds, and the middle half); then, of steps with a clock between layers, for each kind of layer that is split B + W
over the backward in one, and which share W is. ``language-model`` is that of the examples, a GPT with a tied head.

Leave the machine alone meanwhile.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median, quantiles

import torch
from torch import nn

from profiler.capture import captured_model, minibatch
from profiler.capture.layer_graph import capture
from profiler.execution import Captured
from profiler.machine import pinned, this_machine, usable_cores
from profiler.measure.stepper import Stepper, stepper_for
from profiler.settings import UpdateRule
from profiler.settings import config as configuration

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from language_model import CHARACTERS, LENGTH, LanguageModel

LANGUAGE_MODEL = "language-model"
RULE = UpdateRule(lr=0.0, momentum=0.9)
Times = Mapping[int, float]


def stepper_of(name: str, batch_size: int) -> Stepper:
    """Return what runs steps of a model as a stage runs them."""
    captured: Captured
    if name == LANGUAGE_MODEL:
        text = torch.randint(CHARACTERS, (batch_size, LENGTH + 1))
        captured = capture(LanguageModel().train(), name, text[:, :-1].contiguous())
        batch = text[:, :-1].contiguous(), text[:, 1:].contiguous()
    else:
        config = configuration.override(configuration.for_model(name), {"batch_size": batch_size})
        captured = captured_model(config)
        batch = minibatch(config, captured)
    made = stepper_for(captured, batch, RULE, 1)
    made.versions.place_gradients(made.segment.placeable)
    return made


def kinds_of(stepper: Stepper) -> dict[int, str]:
    """Return the kind of each layer, with the size of a convolution's kernel."""
    kinds = {}
    for position, operation in enumerate(stepper.segment.operations):
        module = operation.target
        size = "×".join(map(str, module.kernel_size)) if isinstance(module, nn.Conv2d) else ""
        kinds[position] = f"{operation.kind} {size}".strip()
    return kinds


def step_s(stepper: Stepper, *, split: bool) -> float:
    """Return what a forward and a backward take as a stage runs them, no clock between layers."""
    versions, segment = stepper.versions, stepper.segment
    versions.bind()
    with versions.leaving(segment.separable if split else ()) as left:
        start = stepper.clock()
        values = stepper.received()
        segment.forward(values, versions.attributes, 0, stepper.minibatch)
        loss = stepper.captured.loss([values[name] for name in stepper.captured.outputs], stepper.labels)
        values.clear()
        loss.backward()  # type: ignore[no-untyped-call]
        while left:
            left.pop(0).add()
        took_s = stepper.clock() - start
    versions.drop_gradients()
    return took_s


def measure(name: str, batch_size: int, rounds: int) -> None:
    """Print what the steps of a model took."""
    stepper = stepper_of(name, batch_size)
    kinds = kinds_of(stepper)
    wholes: list[float] = []
    joint, split, later = (defaultdict[str, list[float]](list) for _ in range(3))
    for number in range(rounds + 2):
        _, backward, _ = stepper.instrumented_step()
        _, back, weights, _ = stepper.split_step()
        if number < 2:
            continue
        wholes.append(step_s(stepper, split=True) / step_s(stepper, split=False))
        for kind in {kinds[position] for position in weights}:
            own = [position for position in weights if kinds[position] == kind]
            joint[kind].append(sum(backward[position] for position in own))
            split[kind].append(sum(back[position] for position in own))
            later[kind].append(sum(weights[position] for position in own))
    low, _, high = quantiles(wholes, n=4)
    title = f"{name}, batch {batch_size}"
    print(f"\n{title}: (F + B + W) ÷ (F + backward in one) {median(wholes):.3f} ({low:.3f} – {high:.3f})")
    for kind in sorted(joint, key=lambda own: -median(joint[own])):
        both = [b + w for b, w in zip(split[kind], later[kind], strict=True)]
        ratios = [two / one for two, one in zip(both, joint[kind], strict=True)]
        shares = [w / two for w, two in zip(later[kind], both, strict=True)]
        print(
            f"  {kind:16} {1e3 * median(joint[kind]):8.2f} ms in one; (B + W) ÷ it {median(ratios):.3f}; "
            f"W ÷ (B + W) {median(shares):.2f}",
            flush=True,
        )


def main() -> None:
    """Print a block for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16", LANGUAGE_MODEL])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[4])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    here = this_machine()
    print(f"{here.cpu}, torch {here.torch}; {options.rounds} rounds")
    with pinned(usable_cores()[0]):
        for name in options.model:
            for batch_size in options.batch_size:
                measure(name, batch_size, options.rounds)


if __name__ == "__main__":
    main()
