from pathlib import Path

import pytest

from profiler.errors import ConfigError, FileError
from profiler.settings import Config, config


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        config.load(path)
    assert "\n" not in str(refused.value).strip()
    return str(refused.value).replace(str(path), "own.yaml")


def test_every_shipped_configuration_loads_and_names_its_model() -> None:
    names = {"alexnet", "vgg16", "resnet50"}
    assert {config.for_model(name).model for name in names} == names


def test_a_model_without_a_file_gets_the_defaults() -> None:
    assert config.for_model("densenet121") == Config(model="densenet121")
    assert config.for_model("schemes/../alexnet").batch_size == Config(model="x").batch_size


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: alexnet\nbatchsize: 4\n", "own.yaml:2:1: unknown key 'batchsize' (did you mean 'batch_size'?)"),
        ("model: alexnet\nlr: 1e-3\n", "own.yaml:2:5: lr cannot be '1e-3'"),
        ("model: alexnet\nbatch_size: no\n", "YAML reads yes, no, on and off as true and false"),
        ("model: alexnet\nbatch_size: 4\nbatch_size: 8\n", "own.yaml:3:1: the key 'batch_size' stands twice"),
        ("model: alexnet\nbatch_size: 0\n", "batch_size cannot be 0"),
        ("model: alexnet\npartitions: front-load\n", "partitions cannot be 'front-load'"),
        ('model: alexnet\nbatch_size: "32"\n', "write 32, without quotes"),
        ("model: alexnet\nupdate_rule: AdamW\n", "(did you mean 'adamw'?); it is one of sgd, adam, adamw"),
        ("batch_size: 4\n", "the key 'model' is missing"),
        ("- alexnet\n", "does not hold 'key: value' lines"),
        ("model: [alexnet\n", "this is no YAML"),
        ("? [a, b]\n: alexnet\n", "a key that is not a text"),
        ("model: " + "[" * 5000, "this is no YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_remedy(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(tmp_path, text)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text in UTF-8"):
        config.load(tmp_path / "binary.yaml")


def test_the_command_line_overrides_what_it_gives_and_nothing_else() -> None:
    base = Config(model="x", batch_size=4, batches=7)
    assert config.override(base, {"batch_size": 8, "batches": None}) == Config(model="x", batch_size=8, batches=7)
