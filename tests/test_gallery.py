"""Pictures of the documentation: the page is what its script writes."""

import runpy

from places import CHECKOUT

DOCS = CHECKOUT / "docs"
GALLERY = runpy.run_path(str(CHECKOUT / "benchmarks" / "gallery.py"))


def test_the_page_is_what_the_script_writes() -> None:
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == GALLERY["page"]()
    assert all((DOCS / picture.file).is_file() for picture in GALLERY["PICTURES"])
