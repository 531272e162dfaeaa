import os
from pathlib import Path

import pytest
from strategies import chain

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.commands import MODULES, typed_as
from profiler.errors import FileError
from profiler.files import from_json, read_json, to_json, write_whole
from profiler.profile import Profile


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    profile = chain([1, 2, 3])
    write_whole(tmp_path / "deep" / "p.json", to_json(profile))
    assert read_json(tmp_path / "deep" / "p.json", Profile) == profile
    assert os.listdir(tmp_path / "deep") == ["p.json"]  # noqa: PTH208


def test_unknown_fields_are_passed_over() -> None:
    content = to_json(chain([1])).replace(b'"model": "test"', b'"model": "test", "new": 1')
    assert from_json(content, Profile, "p.json") == chain([1])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"forward_s": 0.001', b'"forward_s": -0.001', "forward_s"),
        (b'"forward_s": 0.001', b'"forward_s": NaN', "no JSON"),
        (b'"forward_s": 0.001', b'"forward_s": 1e999', "forward_s"),
        (b'"model": "test"', b'"model": 3', "model"),
        (
            b'"format_version": 12',
            b'"format_version": 4',
            "of format 4, and this version reads format 12; make it anew",
        ),
        (b'"batch_size": 2', b'"batch_size": 0', "batch_size"),
        (b"}\n", b"", "no JSON"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(old: bytes, new: bytes, words: str) -> None:
    content = to_json(chain([1]))
    content = content.replace(old, new) if new else content[:-3]
    with typed_as(MODULES), pytest.raises(FileError) as refused:
        from_json(content, Profile, "p.json")
    assert words in str(refused.value)
    assert str(refused.value).startswith("p.json is ")
    assert str(refused.value).endswith("python -m profiler")
    assert "\n" not in str(refused.value)


def test_another_kind_of_file_is_called_what_it_is() -> None:
    plan = to_json(Planner(chain([1, 2, 3]).costs(), 2, 8).optimized())
    with (
        typed_as(MODULES),
        pytest.raises(
            FileError, match=r"^it\.json is a plan, where a profile is wanted; make one with python -m profiler$"
        ),
    ):
        from_json(plan, Profile, "it.json")
    said = r"^it\.json is a profile, where a plan is wanted; make one with python -m opt"
    with typed_as(MODULES), pytest.raises(FileError, match=said):
        from_json(to_json(chain([1])), Plan, "it.json")


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.json"
    write_whole(path, b"old")

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(FileError, match="No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["p.json"]  # noqa: PTH208


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot write"):
        write_whole(tmp_path, b"x")
    with pytest.raises(FileError, match="cannot read"):
        read_json(tmp_path, Profile)


def test_links_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_whole(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR)
    write_whole(tmp_path / "pipe", b"through")
    assert os.read(descriptor, 7) == b"through"
    os.close(descriptor)
