"""Every code block of the README and the pages in ``docs/`` runs as it stands, or says why it is not run here.

A command runs with a small model in the place of the one that is named, a few minibatches and a short budget.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_models
import torch
from commands import OPTIMIZE, PROFILE, RUN, Command
from loaders import dataset
from pipelines import build
from places import CHECKOUT, HELPERS

import stageplan

PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NOT_RUN = "console not run by the tests: "
SMALL = {"--model": "small_models:Residual", "--batch-size": "4", "--image-size": "16"}
BUDGET = {"--budget": "0.5s"}
LESS = {"runtime": {"--batches": "4"}, "profiler": BUDGET, "optimizer": {}}
COMMANDS: dict[str, Command] = {"profiler": PROFILE, "optimizer": OPTIMIZE, "runtime": RUN}
LIKE = {
    "classifier.1=8": "fc=2",
    "profiles/resnet50-b4-128.json": "profiles/small_models-Residual-b4-16.json",
    "profiles/vgg16-b4-128.json": "profiles/small_models-Residual-b4-16.json",
}
"""What stands in the place of something that another model has."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """What stands behind the opening of each code block, and what is in it."""
    return [(found[1], found[2]) for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a block, without prompts, comments and what they print."""
    lines = text.replace("\\\n", " ").splitlines()
    prompted = [line[2:] for line in lines if line.startswith("$ ")]
    for line in prompted or lines:
        yield shlex.split(line, comments=True)


def smaller(words: list[str]) -> tuple[str, list[str]]:
    """The package of a command and its arguments, with the small model in the place of any other."""
    assert words[:2] == ["python", "-m"], words
    package, arguments = words[2], [LIKE.get(word, word) for word in words[3:]]
    wanted = dict(LESS[package])
    if "--model" in arguments and "digits:network" not in arguments:
        wanted |= SMALL | (BUDGET if package == "runtime" else {})
    if package == "runtime" and arguments[0] == "compare":
        wanted["--repeats"] = "1"
    if arguments[0] == "train":
        wanted = {"--epochs": "1"}
    for flag, value in wanted.items():
        if flag in arguments:
            arguments[arguments.index(flag) + 1] = value
        else:
            arguments += [flag, value]
    return package, arguments


@pytest.mark.parametrize("folder", ["decisions", "results"])
def test_every_page_of_a_folder_is_in_its_index(folder: str) -> None:
    pages = {page.name for page in (CHECKOUT / "docs" / folder).glob("*.md")} - {"index.md"}
    assert set(re.findall(r"\]\(([^)]+)\)", (CHECKOUT / "docs" / folder / "index.md").read_text())) == pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_what_it_is(page: Path) -> None:
    for info, text in blocks(page):
        assert info in {"console", "python", "text"} or info.startswith(NOT_RUN), f"{page.name}: ```{info}\n{text}"
        assert info != "text" or "python -m" not in text


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(info == "console" for info, _ in blocks(page))],
                         ids=lambda page: page.stem)  # fmt: skip
@pytest.mark.usefixtures("kept_workers", "in_folder")
def test_every_command_runs(page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (HELPERS, CHECKOUT / "examples"):
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{CHECKOUT}:{HELPERS}:{CHECKOUT / 'examples'}")
    for info, text in blocks(page):
        for words in commands(text) if info == "console" else ():
            package, arguments = smaller(words)
            assert COMMANDS[package](arguments) == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(info == "python" for info, _ in blocks(page))],
                         ids=lambda page: page.stem)  # fmt: skip
@pytest.mark.usefixtures("kept_workers", "in_folder")
def test_every_example_in_python_runs(page: Path) -> None:
    for info, text in blocks(page):
        if info == "python":
            model = build(small_models.Residual)
            inputs, labels = next(iter(dataset()))
            known = {
                "stageplan": stageplan, "model": model, "sample": torch.randn(4, *inputs.shape[1:]),
                "loader": dataset(), "validation_loader": [(inputs, labels)],
            }  # fmt: skip
            before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
            exec(compile(text, str(page), "exec"), known)  # noqa: S102 - our own pages
            trained = model.state_dict()
            assert not torch.equal(trained["fc.weight"], before["fc.weight"]), "the model has what was trained"
