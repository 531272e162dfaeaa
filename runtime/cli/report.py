"""``python -m runtime report``: render comparisons that are kept."""

from dataclasses import dataclass
from pathlib import Path

import runtime.compare
import runtime.report
from profiler.cli import Parser, note
from profiler.errors import ConfigError, FileError
from profiler.files import read_json, refuse_unwritable

FILE = "comparison.json"
DEFAULT = Path("report.html")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """The options of ``report``: comparisons or folders of them, and where to write the page."""

    comparison: tuple[Path, ...]
    output: tuple[Path, ...]


def add_arguments(command: Parser) -> None:
    """Add the command's own options."""
    command.add_argument(
        "comparison", type=Path, nargs="+", metavar="FILE_OR_DIR", help="comparison.json, or a folder of them"
    )
    command.add_argument(
        "-o", "--output", type=Path, action="append", default=[], metavar="FILE", help="report.html, or report.md"
    )
    command.add_argument("--quiet", action="store_true", help="print nothing")
    command.add_argument("--debug", action="store_true", help="show where an error came from")


def report_all(options: ReportOptions) -> int:
    """Render all comparisons as one report in each place that is asked for."""
    sources = [path for named in options.comparison for path in _files(named)]
    targets = options.output or (DEFAULT,)
    for path in targets:
        if path.suffix not in runtime.report.KINDS:
            raise ConfigError(f"the report {path} ends in neither .html nor .md; name it report.html, say")
        refuse_unwritable(path)
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
