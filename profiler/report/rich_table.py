"""A table in the one style that all commands have, in a terminal, on a page of HTML and in Markdown.

Where a terminal is narrow, columns are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text


WIDE = 240
"""What holds every column of every table."""
FOLDED = 26
"""Longer words, such as the names of layers, fold where the terminal is narrow."""
_BETWEEN = 3
"""What stands between two columns."""


def _heading(name: str) -> str:
    return "±" if name.endswith("±") else name


class ResultTable:
    """Rows below headings; whatever prints it gets as many of its columns as fit, the important ones first."""

    def __init__(
        self,
        title: str,
        columns: Sequence[str],
        *,
        words: Sequence[str] = (),
        first_out: Sequence[str] = (),
        explained: Mapping[str, str] | None = None,
        caption: str = "",
        total: Sequence[str] = (),
        compact: bool = False,
    ) -> None:
        """Make a table without rows.

        Args:
            title: Above it.
            columns: Their headings, from left to right, unique; one that ends in ``±`` shows that only.
            words: Those of them that hold words, which wrap; the others hold figures, which stand to the right and do
                not.
            first_out: Those that are left out where the terminal is too narrow, in this order.
            explained: What columns mean; said below the table of those that are shown.
            caption: What else is said below it, first.
            total: The last row, set apart; none where it is empty.
            compact: Whether to leave out blank lines, and the names of columns for which a terminal is too narrow.
        """
        self.title, self.columns, self.words, self.total = title, tuple(columns), words, tuple(total)
        self._first_out = [name for name in first_out if name in self.columns]
        self._explained, self._caption, self._compact = dict(explained or {}), caption, compact
        self._rows: list[tuple[tuple[str | Text, ...], str]] = []
        self._sections: set[int] = set()

    def add_row(self, *cells: "str | Text", style: str = "") -> None:
        """Add a row; cells that are missing at its end are empty."""
        self._rows.append(((*cells, *("",) * (len(self.columns) - len(cells))), style))

    def add_section(self) -> None:
        """Draw a line below the last row."""
        self._sections.add(len(self._rows) - 1)

    def html(self) -> str:
        """Return the table as HTML, all columns shown; rows in bold are of class ``ours``."""

        def line(tag: str, cells: Sequence[str], style: str = "") -> str:
            kinds = [' class="text"' if name in self.words else "" for name in self.columns]
            row = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
            opening = '<tr class="ours">' if style == "bold" else "<tr>"
            return f"{opening}{row}</tr>"

        body = "\n".join(line("td", cells, style) for cells, style in self._texts())
        return f"<table>\n<thead>{line('th', self.columns)}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"

    def markdown(self) -> str:
        """Return the table as Markdown, all columns shown."""
        lines = [self.columns, ["---"] * len(self.columns), *(cells for cells, _ in self._texts())]
        return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in lines)

    def _texts(self) -> Iterator[tuple[list[str], str]]:
        """Yield the texts of each row, and its style."""
        for cells, style in self._rows:
            yield [cell if isinstance(cell, str) else cell.plain for cell in cells], style

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        least = {name: self._least_width(place) for place, name in enumerate(self.columns)}
        for name in self._first_out:
            if sum(least.values()) + _BETWEEN * len(least) < options.max_width:
                break
            del least[name]
        yield self._drawn(least)

    def _least_width(self, place: int) -> int:
        """Return how many columns of the terminal a column needs: for figures all, for words so many that they fold."""
        from rich.cells import cell_len
        from rich.text import Text

        cells = [_heading(self.columns[place]), *self.total[place : place + 1], *(row[place] for row, _ in self._rows)]
        lines = [line for cell in cells for line in (cell.plain if isinstance(cell, Text) else cell).splitlines()]
        width = max(map(cell_len, lines), default=0)
        return min(width, FOLDED) if self.columns[place] in self.words else width

    def _drawn(self, shown: Mapping[str, int]) -> "Table":
        from rich import box
        from rich.table import Table

        hidden = [name for name in self.columns if name not in shown]
        told = [self._caption, *(text for name, text in self._explained.items() if name in shown)]
        told += [f"Hidden: {', '.join(hidden)} (--wide shows them)."] if hidden and not self._compact else []
        table = Table(
            title=f"{self.title} (--wide has more)" if hidden and self._compact and self.title else self.title or None,
            caption=" ".join(filter(None, told)) or None,
            caption_justify="left",
            box=box.SIMPLE,
            show_footer=bool(self.total),
            show_edge=not self._compact,
        )
        places = [self.columns.index(name) for name in shown]
        for name, place in zip(shown, places, strict=True):
            heading, footer, least = _heading(name), self.total[place] if self.total else "", shown[name]
            if name in self.words:
                table.add_column(heading, footer=footer, overflow="fold", min_width=least)
            else:
                table.add_column(heading, footer=footer, justify="right", no_wrap=True, min_width=least)
        for number, (cells, style) in enumerate(self._rows):
            table.add_row(*(cells[place] for place in places), style=style or None)
            if number in self._sections:
                table.add_section()
        return table
