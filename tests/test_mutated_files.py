"""Every file that is read, mutated: it is refused in one sentence, or answered; JSON of ours is refused where it was
changed. ``make fuzz`` is the long form: more files, and other ones each time.
"""

import io
import json
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import mutations
import psutil
import pytest
import small_models
import torch
from commands import OPTIMIZE, Command
from comparisons import comparison
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipelines import SETTINGS, build, captured_of, plan_of
from places import TESTS
from runs import run_of
from strategies import MACHINE, chain
from trained import pipeline, plan_for

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.errors import FileError, StageplanError
from profiler.execution import count_name, moment_name
from profiler.files import MOST_BYTES as LARGEST
from profiler.files import from_json, read_json, to_json
from profiler.profile import Edge, Profile
from profiler.settings import config
from runtime.compare import Comparison
from runtime.pipeline.stage_segments import slices
from runtime.report import write_report
from runtime.report.load import load
from runtime.results import RunResult
from runtime.timeline import bubbles_of, picture_of, trace_of
from runtime.training import Pipeline, generators, restore
from runtime.training.model_state import ModelState

TOP = TESTS.parent
Value = Any
"""A JSON file, decoded."""


def profile() -> Profile:
    """A profile with a branch, a group, and a layer that can be cut."""
    made = chain([1, 2, 3, 9, 1])
    layers = [replace(layer, features=4 if layer.name == "l3" else 0) for layer in made.layers]
    whole = replace(
        made, layers=tuple(layers), edges=(*made.edges, Edge(source="l0", target="l2")), machine=MACHINE,
        inseparable=(("l0", "l1"),), outputs=("l4",), precision="bf16",
    )  # fmt: skip
    return from_json(to_json(whole), Profile, "profile.json")


@dataclass(frozen=True)
class FileKind:
    """A kind of file: one that is whole, what changes it, what reads it, and what has to be so where it is read.

    Attributes:
        content: The whole file.
        mutated: Draws changed ones.
        answers: Called with the file's path and a folder to write to; raise what commands tell as one sentence.
        share: How many files of this kind are tried for one of another; fewer where answers take long.
    """

    content: bytes
    mutated: Callable[[bytes], st.SearchStrategy[bytes]]
    answers: Sequence[Callable[[Path, Path], object]]
    share: float = 1.0


class RefusedError(StageplanError):
    """A command said in one sentence what is wrong."""


def ran(command: Command, *arguments: str) -> Callable[[Path, Path], object]:
    """A reader that calls a command; FILE and FOLDER stand for the file and a folder to write to."""

    def answer(path: Path, folder: Path) -> None:
        given_ = [one.replace("FILE", str(path)).replace("FOLDER", str(folder)) for one in arguments]
        code = command(given_)
        assert code in {0, 1, 2, 3}
        if code:
            raise RefusedError(str(code))

    return answer


def shown(path: Path, _folder: Path) -> None:
    found = load(path)
    if isinstance(found, RunResult):
        assert bubbles_of(found)
        assert picture_of(found)
        assert trace_of(found)
    else:
        assert str(found)
        assert found._repr_html_()


PLAN_IT = ("--profile", "FILE", "--stages", "2", "--any-machine", "--quiet")


@cache
def kinds() -> dict[str, FileKind]:
    residual = captured_of(small_models.Residual)
    made = comparison({"optimized": (20.0, 40.0), "end-load": (10.0, None)}, plain=(5.0, 6.0))
    json_ = mutations.mutated_json
    lines = mutations.mutated_lines
    return {
        "profile": FileKind(
            to_json(profile()), json_,
            [ran(OPTIMIZE, *PLAN_IT, "--slice", "auto"),
             ran(OPTIMIZE, *PLAN_IT, "--precision", "auto", "-o", "FOLDER/plan.json"),
             ran(OPTIMIZE, *PLAN_IT, "--plot", "FOLDER/plan.html"), shown],
            0.4,
        ),
        "plan": FileKind(
            to_json(Planner(profile(), 2, 8).optimized()), json_,
            [shown, lambda path, _folder: read_json(path, Plan).modules],
        ),
        "plan to run": FileKind(
            to_json(plan_of(residual, None, 2)), json_,
            [lambda path, _folder: slices(residual, read_json(path, Plan))],
        ),
        "comparison": FileKind(
            to_json(made), json_,
            [lambda path, folder: write_report([read_json(path, Comparison)], folder / "report.html"), shown],
            0.2,
        ),
        "run": FileKind(to_json(run_of("1f1b", 3, [1.0, 2.0])), json_, [shown], 0.5),
        "configuration": FileKind(
            (TOP / "configs" / "alexnet.yaml").read_bytes(), lines,
            [lambda path, _folder: config.load(path).rule],
        ),
        "study": FileKind(
            (TOP / "configs" / "study.yaml").read_bytes(), lines, [lambda path, _folder: config.load_all(path)]
        ),
        "checkpoint": FileKind(checkpoint(), mutations.mutated_checkpoint, [resumed], share=0.4),
    }  # fmt: skip


def checkpoint() -> bytes:
    captured, file = captured_of(small_models.Residual), io.BytesIO()
    own = {**dict(captured.model.named_parameters()), **dict(captured.model.named_buffers())}
    tensors = {name: tensor.detach().clone() for name, tensor in own.items()}
    tensors |= {moment_name(name, 0): torch.ones_like(own[name]) for name in captured.learning}
    tensors |= {count_name(name): torch.tensor(5) for name in captured.learning}
    state = ModelState(build(small_models.Residual), captured, SETTINGS)
    progress = {"minibatches": 5, "parts": 5, "updates": 5, "epoch": 1, "position": 2, "generators": generators()}
    found = state.checkpoint(tensors, **progress)
    torch.save({field.name: getattr(found, field.name) for field in fields(found)}, file)
    return file.getvalue()


def resumed(path: Path, _folder: Path) -> None:
    before = generators()
    try:
        trained_on().resume(path)
    finally:
        restore(before)


@cache
def trained_on() -> Pipeline:
    return pipeline(small_models.Residual, plan_for(small_models.Residual, 2))


NAMES = (
    "profile", "plan", "plan to run", "comparison", "run", "configuration", "study",
    "checkpoint",
)  # fmt: skip
MOST_SECONDS, MOST_BYTES = 30, 4 << 30
"""So long an answer may take, and so much more memory; a mutated file is small, so whatever takes more hangs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to read and write in, with a whole profile."""
    made = tmp_path_factory.mktemp("mutated")
    (made / "profile.json").write_bytes(to_json(profile()))
    return made


@contextmanager
def limited() -> Iterator[None]:
    """Raise where what is inside takes too long or too much memory."""

    def ring(_number: int, _frame: object) -> None:
        raise TimeoutError(f"no answer within {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(MOST_SECONDS)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + MOST_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def answered(kind: FileKind, content: bytes, path: Path) -> bool:
    """Whether anything that reads such a file gives an answer; all others refuse it in a sentence, or this raises."""
    path.write_bytes(content)
    any_ = False
    sentences: list[str] = []
    for answer in kind.answers:
        with limited():
            try:
                answer(path, path.parent)
                any_ = True
            except StageplanError as error:
                sentences.append(str(error))
    assert not any("\n" in sentence for sentence in sentences)
    return any_


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_file_is_answered(name: str, folder: Path) -> None:
    kind = kinds()[name]
    path = folder / "whole.json"
    path.write_bytes(kind.content)
    for answer in kind.answers:
        answer(path, folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_mutated_file_is_refused_in_a_sentence_or_answered_but_not_where_it_is_of_ours(
    name: str, folder: Path
) -> None:
    kind = kinds()[name]

    files = round(settings().max_examples * kind.share)

    @settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=files)
    @given(kind.mutated(kind.content))
    def attack(content: bytes) -> None:
        if answered(kind, content, folder / f"mutated-{name}") and content.lstrip().startswith(b"{"):
            assert json.loads(content) == json.loads(kind.content), "a file that was changed was answered"

    attack()


@pytest.mark.parametrize(("name", "kind"), [("plan", Plan), ("comparison", Comparison), ("run", RunResult)])
def test_a_file_is_read_without_a_simulation_or_a_statistical_decision(
    name: str, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of a library rounds otherwise, and must not refuse what was measured."""
    for function in ("optimizer.plan.forecast.simulate", "optimizer.plan.noise.simulate", "scipy.stats.t.ppf"):
        monkeypatch.setattr(function, lambda *_given, **_named: pytest.fail("a figure is worked out anew"))
    assert from_json(kinds()[name].content, kind, "file.json")


CHANGES: list[tuple[str, Callable[[Value], object]]] = [
    ("profile", lambda v: v.update(stranger=1)),
    ("plan", lambda v: v.update(bottleneck_s=v["bottleneck_s"] * 2)),
    ("comparison", lambda v: v["contenders"][0]["runs"][0].update(throughput_samples_per_s=99.0)),
    ("run", lambda v: v.update(comparable=False)),
    ("plan", lambda v: v.pop("sha256")),
]


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_change_by_hand_is_told_where_the_file_is_read(
    name: str, change: Callable[[Value], object], folder: Path
) -> None:
    value = json.loads(kinds()[name].content)
    path = folder / "odd.json"
    path.write_text(json.dumps(value))
    assert load(path), "spaced in another way"
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(
        FileError,
        match=r"odd.json (was changed after it was written|lacks the sha256 of its content); make it anew with",
    ):
        load(path)


FOUND = {
    "brackets in brackets": b"[" * 100_000,
    "objects in objects": b'{"layers":' * 100_000,
    "bytes that are no text": b'{"model\xff\xfe": 1, "layers": []}',
    "a key twice": b'{"whole_step_s": 1, "whole_step_s": 2}',
    "a number that is too large": b'{"whole_step_s": 1e999}',
    "no number": b'{"whole_step_s": NaN}',
    "a number of five thousand digits": b'{"whole_step_s": 1, "stranger": ' + b"9" * 5000 + b"}",
    "nothing": b"",
}
"""Files on which something once broke, or might."""


@pytest.mark.parametrize("content", FOUND.values(), ids=FOUND)
@pytest.mark.parametrize("kind", [Profile, Plan, Comparison, RunResult])
def test_a_file_that_once_broke_something_is_refused(content: bytes, kind: type[Any], tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match=re.escape(str(path))):
        read_json(path, kind)


def test_a_file_that_is_larger_than_any_of_ours_is_refused_whatever_it_holds(tmp_path: Path) -> None:
    """One of four gigabytes made the decoder crash."""
    path = tmp_path / "large.json"
    path.touch()
    os.truncate(path, LARGEST + 1)
    for read in (partial(read_json, kind=Plan), partial(read_json, kind=Profile), load):
        with pytest.raises(FileError, match=r"large\.json is larger than 256 MiB, which none of our files is"):
            read(path)
    with pytest.raises(FileError, match="/dev/zero is larger than 256 MiB"):
        read_json(Path("/dev/zero"), Profile)


@pytest.mark.parametrize("sign", ["\x00", "\x07", "\x08", "\x0c", "\r", "\x1b", "\x7f", "\x9b", "\\\x1b"])
@pytest.mark.parametrize("kind", [Profile, Plan])
def test_names_that_steer_a_terminal_are_refused(kind: type[Any], sign: str, folder: Path) -> None:
    content = kinds()[kind.__name__.lower()].content
    for escaped in (True, False):
        new = json.dumps(f"a{sign}b", ensure_ascii=escaped).encode()
        (folder / "steers").write_bytes(content.replace(b'"test"', new))
        with pytest.raises(FileError, match="holds a sign that steers a terminal, which no name has; "):
            read_json(folder / "steers", kind)


@pytest.mark.parametrize("text", ["a\\u001b", "\\\\b", "a\nb", "a\tb", "ü ÷ ×", "\\\\u0008"])
def test_what_only_looks_like_a_control_sign_is_read(text: str, folder: Path) -> None:
    path = folder / "looks"
    path.write_bytes(to_json(replace(profile(), model=text)))
    assert read_json(path, Profile).model == text
