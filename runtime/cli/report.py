"""``python -m runtime report``: render comparisons that are kept."""

import argparse
from pathlib import Path

from profiler.cli import note
from profiler.errors import ConfigError, FileError
from profiler.files import read_json, refuse_unwritable
from runtime.compare import Comparison

FILE = "comparison.json"
DEFAULT = Path("report.html")


def report_all(options: argparse.Namespace) -> int:
    """Render all comparisons as one report in each place that is asked for."""
    from runtime.report import KINDS, write_reports

    sources = [path for given in options.comparison for path in _files(given)]
    targets = options.output or [DEFAULT]
    for path in targets:
        if path.suffix not in KINDS:
            raise ConfigError(f"the report {path} ends in neither .html nor .md; name it report.html, say")
        refuse_unwritable(path)
    write_reports([read_json(path, Comparison) for path in dict.fromkeys(sources)], targets)
    for path in targets:
        note(f"the report is {path}", quiet=options.quiet)
    return 0


def _files(given: Path) -> list[Path]:
    """Return the file itself, or all comparisons below a folder."""
    if not given.is_dir():
        return [given]
    found = sorted(given.rglob(FILE))
    if not found:
        raise FileError(f"there is no {FILE} in {given} or below; name a folder that compare --out wrote")
    return found
