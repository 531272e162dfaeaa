"""Make every picture of the documentation anew, and the page that shows each beside its command.

    python benchmarks/gallery.py            # all of them: a few minutes, on an idle machine
    python benchmarks/gallery.py timeline.svg   # some of them

The report is that of ``results/``, as ``make compare`` leaves it; pictures of pages need chromium.
"""

import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parent.parent
DOCS = TOP / "docs"
PROFILE = "--profile tests/data/pipedream-resnet50.json --any-machine"
SHOT = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=6000")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        file: In ``docs/``.
        command: What writes it, or the page that is photographed for it.
        text: What it shows.
        page: The page that the command writes, where the picture is of one; ``size``, how much of it.
    """

    file: str
    title: str
    command: str
    text: str
    page: str = ""
    size: tuple[int, int] = (1100, 1000)


PICTURES = (
    Picture(
        "report.png", "The report of a comparison", "make compare",
        "`results/report.html`: one file, nothing fetched.", page="results/report.html", size=(1100, 1500),
    ),
    Picture(
        "what-if.png", "What if I cut here?", f"python -m optimizer {PROFILE} --plot build/what-if.html",
        "The layer graph that PipeDream published of ResNet50. Cuts are dragged, and the numbers follow.",
        page="build/what-if.html", size=(960, 1000),
    ),
    Picture(
        "timeline.svg", "A run",
        "python -m runtime run --model alexnet --batches 10 --slice none --trace docs/timeline.svg",
        "Four stages, 1F1B, batch 4. Stage 2 has the large linear layers, and their update; it never waits, and the "
        "others wait for it. (`--trace run.json` is the same for ui.perfetto.dev.)",
    ),
)  # fmt: skip
OTHERS = """
## Planning time
```console not run by the tests: it takes minutes
python benchmarks/planning_time.py
```
How long the search took before [decision 52](decisions/0052-one-recurrence-over-candidates.md)
([tables](results/planning-time.md)).

![Planning time against the number of layers](results/planning-time.svg)
"""


def page() -> str:
    """Return ``docs/gallery.md``."""
    parts = ["# Pictures\nEach beside the command that wrote it; `make gallery` writes them all anew.\n"]
    parts += [
        f"\n## {picture.title}\n```console not run by the tests: it is made anew with make gallery\n"
        f"$ {picture.command}\n```\n{picture.text}\n\n![{picture.title}]({picture.file})\n"
        for picture in PICTURES
    ]
    return "".join([*parts, OTHERS])


def make(picture: Picture) -> None:
    """Write one picture."""
    words = shlex.split(picture.command)
    (TOP / "build").mkdir(exist_ok=True)
    if words[0] == "python":
        subprocess.run([sys.executable, *words[1:], "--quiet"], cwd=TOP, check=True)
    if picture.page:
        photograph(TOP / picture.page, DOCS / picture.file, picture.size)


def photograph(source: Path, target: Path, size: tuple[int, int]) -> None:
    """Write how a browser shows a page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("chromium is not installed, and a page is to be photographed; apt-get install chromium")
    width, height = size
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [browser, *SHOT, f"--user-data-dir={folder}", f"--window-size={width},{height}", f"--screenshot={target}",
             source.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip


def main() -> None:
    """Write the pictures that are named, or all, and the page."""
    wanted = sys.argv[1:]
    if unknown := set(wanted) - {picture.file for picture in PICTURES}:
        known = ", ".join(picture.file for picture in PICTURES)
        sys.exit(f"there is no picture {', '.join(sorted(unknown))}; there are {known}")
    for picture in PICTURES:
        if not wanted or picture.file in wanted:
            make(picture)
            print(f"docs/{picture.file}", flush=True)
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
