"""``python -m runtime report``: render comparisons that are kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import runtime.compare
import runtime.report
from profiler.cli import Options, argument, note, option
from profiler.errors import ConfigError, FileError
from profiler.files import read_json
from profiler.output_files import refuse_unwritable

FILE = "comparison.json"
DEFAULT = Path("report.html")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions(Options):
    """The options of ``report``."""

    comparison: Annotated[
        tuple[Path, ...], argument("comparison.json, or a folder of them", type=Path, nargs="+", metavar="FILE_OR_DIR")
    ]
    output: Annotated[
        tuple[Path, ...],
        option(
            "report.html, or report.md (report.html)",
            "-o",
            "--output",
            under="output",
            type=Path,
            action="append",
            metavar="FILE",
        ),
    ] = ()


def report_all(options: ReportOptions) -> int:
    """Render all comparisons as one report in each place that is asked for."""
    sources = [path for named in options.comparison for path in _files(named)]
    targets = options.output or (DEFAULT,)
    for path in targets:
        if path.suffix not in runtime.report.KINDS:
            raise ConfigError(f"the report {path} ends in neither .html nor .md; name it report.html, say")
        refuse_unwritable(path, "page" if path.suffix == ".html" else "report", "-o")
    runtime.report.write_reports(
        [read_json(path, runtime.compare.Comparison) for path in dict.fromkeys(sources)], targets
    )
    for path in targets:
        note(f"the report is {path}")
    return 0


def _files(path: Path) -> list[Path]:
    """Return the file itself, or all comparisons below a folder."""
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob(FILE))
    if not files:
        raise FileError(f"there is no {FILE} in {path} or below; name a folder that compare --out wrote")
    return files
