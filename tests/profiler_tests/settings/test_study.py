"""Configuration files that stand for several comparisons, and the cuts that were tuned by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from strategies import profile_of

from optimizer.errors import PartitionError
from optimizer.planning import Models, Planner, load_schemes, partition_names, plan_for, plans_for
from optimizer.planning.partitions import hand_tuned_cuts
from optimizer.planning.schemes import LOWERED, OPTIMIZED, SLICED, STUDY
from profiler.capture import captured_model
from profiler.errors import ConfigError
from profiler.settings import Config, configs_folder, load_all

GOOD = "models: {alexnet: 7, vgg16: 3}\nbatch_sizes: [16, 1]\nrepeats: 2\n"


def test_each_model_at_each_batch_size_smallest_first(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(GOOD)
    assert load_all(path) == [
        Config(model=model, batch_size=size, batches=batches, repeats=2)
        for model, batches in (("alexnet", 7), ("vgg16", 3))
        for size in (1, 16)
    ]


def test_the_shipped_study_is_the_study() -> None:
    found = load_all(configs_folder() / "study.yaml")
    assert len(found) == 12
    assert {(one.model, one.batches) for one in found} == {("alexnet", 128), ("resnet50", 16), ("vgg16", 32)}
    assert {one.repeats for one in found} == {5}
    assert {one.image_size for one in found} == {128}
    assert partition_names(found[0].partitions, load_schemes()) == [OPTIMIZED, SLICED, LOWERED, *load_schemes(), STUDY]


def test_a_single_models_file_is_a_study_of_one(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("model: alexnet\n")
    assert load_all(path) == [Config(model="alexnet")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.replace("batch_sizes: [16, 1]\n", ""), "the key 'batch_sizes' is missing"),
        (GOOD + "model: alexnet\n", "'model' cannot stand beside 'models'"),
        (GOOD.replace("{alexnet: 7, vgg16: 3}", "{}"), "models cannot be"),
        (GOOD.replace("[16, 1]", "16"), "batch_sizes cannot be 16"),
    ],
)
def test_a_wrong_study_is_refused_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_all(path)
    assert reason in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("model", "cuts"),
    [
        ("alexnet", ("features.6", "flatten", "classifier.3")),
        ("vgg16", ("features.4", "features.19", "classifier.1")),
        ("resnet50", ("layer2.0.add", "layer3.1.add", "layer3.5.add")),
    ],
)
def test_the_hand_tuned_cuts_are_legal_and_where_the_study_has_them(model: str, cuts: tuple[str, ...]) -> None:
    captured = captured_model(Config(model=model, batch_size=1, image_size=64))
    planner = Planner(replace(profile_of(captured, 0), model=model), 4, 8)
    plan = plan_for(STUDY, Models(planner), load_schemes())
    assert plan.cuts == cuts
    if model == "resnet50":
        ahead = [plan.stages[number + 1].layers[0] for number in range(3)]
        assert ahead == ["layer2.0.relu_2", "layer3.1.relu_2", "layer3.5.relu_2"], "directly behind the additions"


def test_a_model_or_number_of_stages_without_hand_tuned_cuts_leaves_them_out() -> None:
    captured = captured_model(Config(model="alexnet", batch_size=1, image_size=64))
    known = replace(profile_of(captured, 0), model="alexnet")
    with pytest.raises(PartitionError, match="use --stages 4"):
        hand_tuned_cuts(Planner(known, 2, 8))
    with pytest.raises(PartitionError, match="has no cuts for it"):
        hand_tuned_cuts(Planner(replace(known, model="other"), 4, 8))
    said: list[str] = []
    assert list(plans_for(["optimized", STUDY], Models(Planner(known, 2, 8)), load_schemes(), said.append)) == [
        "optimized"
    ]
    assert "study is left out" in said[0]
