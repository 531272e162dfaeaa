"""What cannot be written, or would replace something else, is known before the work."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from profiler.errors import FileError
from profiler.output_files import OutputKind, kind_of, refuse_unwritable
from runtime.training.checkpoint import write_tensors


def test_what_cannot_be_written_is_known_before_the_work_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (
        tmp_path,
        tmp_path / "file" / "deep" / "p.json",
        Path("/dev/null/p.json"),
        tmp_path / ("x" * 300) / "p",
    ):
        with pytest.raises(FileError, match=r"cannot write .*; give another place with --save"):
            refuse_unwritable(path, "weights", "--save")
    refuse_unwritable(tmp_path / "new" / "deep" / "p.json", "plan", "-o")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """A file of each kind."""
    texts = {
        "drawing": '<?xml version="1.0"?>\n<svg></svg>', "page": "<!doctype html>\n<p>",
        "log": '{"epoch": 0, "minibatch": 0, "loss": 1.0}\n{"epoch": 0, "minibatch": 1, "loss": null}\n',
        "plan": '{"model": "x", "lower_bound_s": 0.0}', "profile": '{"whole_step_s": 1}',
        "run's result": '{"losses": []}', "trace": '{"traceEvents": []}', "JSON of another kind": '{"scripts": {}}',
        "something else": "# My own notes\n", "": "",
    }  # fmt: skip
    files = {}
    for number, (kind, text) in enumerate(texts.items()):
        files[kind] = tmp_path / str(number)
        files[kind].write_text(text)
    files["weights"], files["checkpoint"] = tmp_path / "model.pt", tmp_path / "run.ckpt"
    write_tensors(files["weights"], {"weight": torch.zeros(3)}, "--save")
    write_tensors(files["checkpoint"], {"format_version": 1, "model": {"weight": torch.zeros(3)}}, "--checkpoint")
    return files


def test_a_file_of_another_kind_is_not_replaced_and_one_of_the_same_kind_is(written: dict[str, Path]) -> None:
    kinds: tuple[OutputKind, ...] = get_args(OutputKind)
    for kind, path in written.items():
        assert kind_of(path) == kind
        before = path.read_bytes()
        for wanted in kinds:
            if kind in {wanted, ""}:
                refuse_unwritable(path, wanted, "-o")
                continue
            with pytest.raises(
                FileError, match=r"exists and holds .*would replace; give another place with -o, or del"
            ):
                refuse_unwritable(path, wanted, "-o")
        refuse_unwritable(path, None, "-o")
        assert path.read_bytes() == before
    with pytest.raises(FileError, match=r"exists and holds a plan, which weights would replace"):
        refuse_unwritable(written["plan"], "weights", "--save")


def test_weights_that_torch_saves_by_path_are_known_too(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "model.pt")
    assert kind_of(tmp_path / "model.pt") == "weights"
    optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), momentum=0.9)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    assert kind_of(tmp_path / "optimizer.pt") == "something else"
