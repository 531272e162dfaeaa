"""Pictures of the documentation: the page is what its script writes, and what can be made again is as it was kept."""

import shlex
from pathlib import Path

import pytest
from commands import OPTIMIZE
from places import CHECKOUT
from scripts import script

DOCS = CHECKOUT / "docs"


GALLERY = script("gallery")


def test_the_page_is_what_the_script_writes() -> None:
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == GALLERY.page()
    assert all((DOCS / picture.file).is_file() for picture in GALLERY.PICTURES)


@pytest.mark.parametrize(
    "picture", [picture for picture in GALLERY.PICTURES if picture.same], ids=lambda picture: picture.file
)
def test_a_picture_of_a_kept_profile_is_no_older_than_the_code(
    picture: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    words = shlex.split(picture.command)  # type: ignore[attr-defined]
    assert words[:3] == ["python", "-m", "optimizer"]
    made = tmp_path / picture.file  # type: ignore[attr-defined]
    arguments = [str(made) if word == f"docs/{made.name}" else word for word in words[3:]]
    assert OPTIMIZE([*arguments, "--quiet"]) == 0
    assert made.read_bytes() == (DOCS / made.name).read_bytes()
