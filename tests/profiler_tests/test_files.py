import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest
from places import CHECKOUT
from strategies import chain

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.commands import MODULES, typed_as
from profiler.errors import FileError
from profiler.files import from_json, to_json, write_whole
from profiler.profile import Profile


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"forward_s": 0.001', b'"forward_s": -0.001', "forward_s"),
        (b'"model": "test"', b'"model": 3', "model"),
        (
            b'"format_version": 19',
            b'"format_version": 4',
            "of format 4, and this version reads format 19; make it anew",
        ),
        (b'"batch_size": 2', b'"batch_size": 0', "batch_size"),
        (b'"precision": "fp32"', b'"precision": "int8"', "'int8'"),
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


def test_of_a_key_that_stands_twice_the_last_counts_for_the_checksum_too() -> None:
    content = to_json(chain([1]))
    first, last = (content.replace(b'"model": "test"', twice) for twice in (
        b'"model": "x", "model": "test"', b'"model": "test", "model": "x"',
    ))  # fmt: skip
    assert from_json(first, Profile, "p.json") == chain([1])
    with pytest.raises(FileError, match="was changed after it was written"):
        from_json(last, Profile, "p.json")


def test_another_kind_of_file_is_called_what_it_is() -> None:
    plan = to_json(Planner(chain([1, 2, 3]), 2, 8).optimized())
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


def test_a_kill_leaves_what_was_there(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from profiler.files import write_whole\n"
        "def halfway(file): file.write(b'x' * 1000); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_whole(Path(sys.argv[1]), halfway)"
    )
    path = tmp_path / "p.json"
    write_whole(path, b"old")
    ended = subprocess.run([sys.executable, "-c", code, path], cwd=CHECKOUT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_of_several_writers_at_once_one_counts_whole(tmp_path: Path) -> None:
    path, size = tmp_path / "p", 100_000

    def write(number: int) -> bytes:
        def content(file: BinaryIO) -> None:
            file.writelines(bytes([number]) for _ in range(size))

        write_whole(path, content)
        return path.read_bytes()

    with ThreadPoolExecutor(8) as threads:
        for content in threads.map(write, range(32)):
            assert len(content) == size
            assert len(set(content)) == 1
    assert os.listdir(tmp_path) == ["p"]  # noqa: PTH208


def test_a_file_has_the_mode_that_new_files_have_and_the_mask_stays_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.delattr(os, "umask")
            write_whole(tmp_path / "p.json", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "p.json").stat().st_mode) == 0o640


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "ä" * 127):
        write_whole(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"
    assert len(os.listdir(tmp_path)) == 2  # noqa: PTH208


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
