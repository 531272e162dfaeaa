"""The page in which cuts are moved: its numbers are the planner's, and a browser can drag and type."""

import json
import random
import re
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pages import found_by, needs_browser
from places import TESTS
from rounds import with_rounds
from strategies import layer, profile, random_profiles

from optimizer.plan import Plan
from optimizer.planning import Planner, load_schemes
from optimizer.schedule import ASYNCHRONOUS, SCHEDULES, Pace, pace_of
from optimizer.what_if import Chain, chain_of, shown_first, what_if_page
from profiler.files import read_json, to_json
from profiler.profile import INPUT, Profile, Slicing

PACES = [pace_of(name, 4) for name in SCHEDULES]
MINIBATCHES = 12


def plan_at(planner: Planner, chain: Chain, cuts: tuple[int, ...]) -> Plan:
    """The planner's own plan of a split along the captured order."""
    layers = [0, *accumulate(len(own.layers) for own in chain.stretches)]
    return planner.in_captured_order("by hand", [layers[cut] for cut in cuts])


def unsteady(seed: int, model: str = "vgg16") -> Profile:
    """A graph of PipeDream's with thirty rounds, and times beside no busy core."""
    numbers = random.Random(seed)  # noqa: S311 - no secret
    found = read_json(TESTS / "data" / f"pipedream-{model}.json", Profile)
    layers = tuple(
        replace(own, alone_s=own.step_s * numbers.uniform(0.6, 1.0), weight_gradients_s=own.backward_s / 2,
                left_bytes=own.saved_bytes // 2)
        for own in found.layers
    )  # fmt: skip
    found = replace(found, layers=layers, loss=replace(found.loss, alone_s=found.loss.step_s), neighbours=2)
    found = replace(found, peak_memory_bytes=sum(found.memory_parts) + 12_345)
    return with_rounds(found, [[numbers.lognormvariate(0, 0.1) for _ in range(30)] for _ in layers])


@settings(deadline=None, max_examples=60)
@given(random_profiles(), st.sampled_from(PACES), st.data())
def test_stretches_and_cuts_add_up_to_what_the_planner_has(found: Profile, pace: Pace, data: st.DataObject) -> None:
    chain = chain_of(Planner(found, 1, MINIBATCHES, pace=pace), load_schemes())
    legal = range(1, len(chain.stretches))
    if not legal:
        assert chain.pipelines == {}
        return
    cut = data.draw(st.sampled_from(legal))
    plan = plan_at(Planner(found, 2, MINIBATCHES, pace=pace_of(pace.name, 2, pace.update_every)), chain, (cut,))
    assert shown_first(chain, plan) == ((cut,), "")
    pipeline = chain.pipelines["2"]
    for stage, own in enumerate(plan.stages):
        members = chain.stretches[cut:] if stage else chain.stretches[:cut]
        down, up = (0, chain.cuts[cut - 1].up_ns) if stage else (chain.cuts[cut - 1].down_ns, 0)
        time_ns = sum(each.forward_ns + each.backward_ns for each in members) + down + up
        time_ns += (chain.loss_forward_ns + chain.loss_backward_ns) * stage
        update_ns = sum(each.update_last_ns if stage else each.update_ns for each in members)
        adding_ns = sum(each.accumulate_ns for each in members)
        assert own.total_s == pytest.approx((time_ns + update_ns + adding_ns) / 1e9)
        learning, saved, left, casts, *behind_and_before = pipeline.held[stage]
        down_slots, up_slots = behind_and_before[2:] if stage else behind_and_before[:2]
        memory = sum(each.frozen_bytes + each.learning_bytes * learning for each in members)
        memory += sum((each.saved_bytes - each.cast_bytes) * saved + each.cast_bytes * casts for each in members)
        memory += sum(each.left_bytes * left for each in members)
        memory += chain.cuts[cut - 1].down_bytes * down_slots + chain.cuts[cut - 1].up_bytes * up_slots
        assert own.memory_bytes == memory + chain.heap_bytes


def test_the_best_split_and_the_schemes_are_those_of_the_planner() -> None:
    planner = Planner(read_json(TESTS / "data" / "pipedream-vgg16.json", Profile), 4, MINIBATCHES)
    chain, schemes = chain_of(planner, load_schemes()), load_schemes()
    assert set(chain.pipelines) == {str(stages) for stages in range(2, 9)}
    best = plan_at(planner, chain, chain.pipelines["4"].splits["best"])
    assert best.bottleneck_s == planner.optimized().bottleneck_s, "a chain has no other cuts"
    for name, shares in schemes.items():
        assert shown_first(chain, planner.scheme(name, shares)) == (chain.pipelines["4"].splits[name], "")


@settings(deadline=None, max_examples=40)
@given(found=random_profiles(), data=st.data())
def test_cuts_that_were_moved_are_told_as_options_that_give_that_split(found: Profile, data: st.DataObject) -> None:
    found = replace(found, typed=("--model", "mine:build"))
    chain = chain_of(Planner(found, 1, MINIBATCHES), load_schemes())
    assume(chain.cuts)
    assert chain.command.endswith("--model mine:build")
    at = data.draw(st.integers(1, len(chain.cuts)))
    plan = Planner(found, 2, MINIBATCHES, cut_after=[chain.cuts[at - 1].after]).optimized()
    assert shown_first(chain, plan) == ((at,), "")


def test_a_plan_in_another_form_stands_beside_those_that_can_be_moved() -> None:
    planner = Planner(read_json(TESTS / "data" / "pipedream-vgg16.json", Profile), 4, MINIBATCHES)
    chain, plan = chain_of(planner, load_schemes()), planner.optimized()
    assert not chain.command, "no command names a model of no name"
    page = what_if_page(chain, beside={"sliced": plan}).decode()
    assert f'"beside":[{{"name":"sliced","stages":4,"samples_per_s":{plan.predicted.promised_samples_per_s}' in page


def test_a_plan_that_cannot_be_shown_is_said_and_not_taken_for_another() -> None:
    """Of two branches side by side, a cut behind one of them has as many layers before it as one in captured order."""
    names = ["stem", "a0", "a1", "b0", "b1", "sum"]
    edges = [(INPUT, "stem"), ("stem", "a0"), ("a0", "a1"), ("stem", "b0"), ("b0", "b1"), ("a1", "sum"), ("b1", "sum")]
    planner = Planner(profile([layer(name) for name in names], edges), 2, MINIBATCHES)
    chain = chain_of(planner, load_schemes())
    ideal = sum(1 << names.index(name) for name in ("stem", "a0", "b0"))
    beside = planner.unlimited("by hand", (0, ideal, (1 << len(names)) - 1))
    assert shown_first(chain, beside) == (None, "The plan's cuts do not lie along the captured order, and here all do.")
    whole = Planner(planner.profile, 1, MINIBATCHES).optimized()
    assert shown_first(chain, whole) == (None, "The plan has 1 stage, and here are 2 or 3 or 4 or 5 or 6.")
    sliced = replace(beside, slicing=Slicing("stem=2"))
    assert shown_first(chain, sliced)[1].startswith(
        "The plan is of the model in stem=2, and here it is with its layers whole"
    )
    assert '"note":"The plan has 1 stage' in what_if_page(chain, *shown_first(chain, whole)).decode()


def test_the_page_needs_nothing_else_and_has_no_markup_of_the_models() -> None:
    found = replace(read_json(TESTS / "data" / "pipedream-alexnet.json", Profile), model="</script><b>")
    page = what_if_page(chain_of(Planner(found, 4, MINIBATCHES), load_schemes())).decode()
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|fetch\(|import\(", page)
    assert "<b>" not in page
    assert page.count("</script>") == 2
    assert len(page) < 300_000


PROBE = """
<script>
addEventListener("DOMContentLoaded", () => {
  const {chain} = CHAIN;
  document.body.dataset.found = JSON.stringify(SPLITS.map(cuts => {
    const found = whatIf.evaluate(chain, cuts);
    const stages = found.stages.map(own => [own.total_s, own.memory_bytes, own.sent_bytes]);
    return [found.samples_per_s, found.low, found.high, stages];
  }));
});
</script>
"""
DRIVE = """
<script>
addEventListener("DOMContentLoaded", () => {
  const said = () => document.querySelector(".what-if-said").textContent;
  const told = () => document.querySelector(".what-if-command code").textContent;
  const now = () => [...document.querySelectorAll(".handle")].map(own => Number(own.getAttribute("aria-valuenow")));
  const steps = [[now(), said()]];
  const asked = told();
  const key = (number, name) => {
    document.querySelectorAll(".handle")[number].dispatchEvent(new KeyboardEvent("keydown", {key: name}));
    steps.push([now(), said()]);
  };
  key(0, "ArrowRight"); key(0, "ArrowLeft"); key(2, "End"); key(0, "Home"); key(0, "ArrowLeft");
  const picture = document.querySelector(".what-if-curve").getBoundingClientRect();
  const handle = document.querySelectorAll(".handle")[1];
  handle.dispatchEvent(new PointerEvent("pointerdown", {bubbles: true}));
  dispatchEvent(new PointerEvent("pointermove", {clientX: picture.left + picture.width * 0.45}));
  dispatchEvent(new PointerEvent("pointerup"));
  dispatchEvent(new PointerEvent("pointermove", {clientX: picture.left}));
  steps.push([now(), said()]);
  const stages = document.querySelector("select");
  stages.value = "2";
  stages.dispatchEvent(new Event("change"));
  steps.push([now(), said()]);
  document.querySelectorAll(".what-if-splits button")[1].click();
  steps.push([now(), said()]);
  document.body.dataset.found = JSON.stringify([...steps, [asked, told()]]);
});
</script>
"""


def in_browser(page: str, folder: Path) -> Any:
    (folder / "page.html").write_text(page)
    return found_by(folder / "page.html", "--window-size=1000,900", "--virtual-time-budget=20000")


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(
    ("model", "pace", "minibatches"),
    [
        ("vgg16", pace_of(ASYNCHRONOUS, 4), 24),
        ("alexnet", pace_of("gpipe", 4, 16), 50),
        ("resnet50", pace_of("zero-bubble", 4), 40),
        ("vgg16", replace(pace_of("zero-bubble", 4), meets=True), 40),
        ("alexnet", pace_of("1f1b-flush", 8, 64), 200),
    ],
    ids=lambda value: value.words + " meets" * value.meets if isinstance(value, Pace) else str(value),
)
def test_a_browser_works_out_what_the_planner_does_for_a_hundred_splits(
    model: str, pace: Pace, minibatches: int, tmp_path: Path
) -> None:
    numbers = random.Random(7)  # noqa: S311 - no secret
    profile = unsteady(3, model)
    profile = replace(profile, update_rule="sgd with a bounded norm") if pace.meets else profile
    planner = Planner(profile, 4, 12, pace=pace)
    chain = chain_of(planner, load_schemes(), minibatches)
    splits = []
    for _ in range(100):
        stages = numbers.randint(2, 8)
        splits.append(sorted(numbers.sample(range(1, len(chain.stretches)), stages - 1)))
    probe = PROBE.replace("SPLITS", json.dumps(splits)).replace(
        "CHAIN", json.dumps({"chain": json.loads(to_json(chain))})
    )
    found = in_browser(what_if_page(chain).decode().replace("</body>", f"{probe}</body>"), tmp_path)
    assert len(found) == 100
    for cuts, (speed, low, high, stages) in zip(splits, found, strict=True):
        count = len(cuts) + 1
        other = Planner(planner.profile, count, minibatches, pace=pace_of(pace.name, count, pace.update_every))
        plan = plan_at(other, chain, tuple(cuts))
        assert [tuple(own) for own in stages] == [
            (pytest.approx(own.total_s, rel=1e-9), own.memory_bytes, sent) for own, sent in
            zip(plan.stages, [own.send_bytes for own in plan.stages], strict=True)
        ]  # fmt: skip
        expected = plan.predicted.expected
        assert expected
        assert (speed, low, high) == pytest.approx((expected.samples_per_s, expected.low, expected.high), rel=1e-4)


@pytest.mark.slow
@needs_browser
def test_cuts_move_by_keys_and_by_dragging_and_stay_in_order(tmp_path: Path) -> None:
    planner = Planner(replace(unsteady(3), typed=("--model", "vgg16")), 4, MINIBATCHES)
    chain = chain_of(planner, load_schemes())
    page = what_if_page(chain).decode().replace("</body>", f"{DRIVE}</body>")
    start, right, back, end, home, stuck, dragged, two, scheme, told = in_browser(page, tmp_path)
    best = list(chain.pipelines["4"].splits["best"])
    assert start[0] == best
    assert "100% of the best below" in start[1]
    assert right[0] == [best[0] + 1, *best[1:]]
    assert right[1] != start[1]
    assert back == start
    assert end[0] == [*best[:2], len(chain.stretches) - 1]
    assert home[0][0] == 1
    assert stuck == home, "there is nothing to the left of the first place"
    assert dragged[0][0] == 1
    assert 1 < dragged[0][1] < dragged[0][2]
    assert dragged[0][1] != best[1]
    assert two[0] == list(chain.pipelines["2"].splits["best"])
    first, last = (
        "".join(f" --cut-after {','.join(chain.cuts[at - 1].after)}" for at in cuts) for cuts in (best, scheme[0])
    )
    assert [own[own.index("--model") :] for own in told] == [
        f"--model vgg16 --stages 4{first} -o plan.json", f"--model vgg16 --stages 2{last} -o plan.json",
    ]  # fmt: skip
    assert scheme[0] == list(list(chain.pipelines["2"].splits.values())[1])
