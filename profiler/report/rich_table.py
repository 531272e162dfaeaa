"""A table in the one style that all commands have, in a terminal and on a page of HTML."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text


class ResultTable:
    """Rows below headings."""

    def __init__(
        self,
        title: str,
        columns: Sequence[str],
        *,
        words: Sequence[str] = (),
        caption: str = "",
        total: Sequence[str] = (),
        compact: bool = False,
    ) -> None:
        """Make a table without rows.

        Args:
            title: Above it.
            columns: Their headings, from left to right, unique.
            words: Those of them that hold words, which wrap; the others hold figures, which stand to the right and do
                not.
            caption: Below it.
            total: The last row, set apart; none where it is empty.
            compact: Whether to leave out blank lines.
        """
        self.title, self.columns, self.words, self.total = title, tuple(columns), words, tuple(total)
        self._caption, self._compact = caption, compact
        self._rows: list[tuple[tuple[str | Text, ...], str]] = []

    def add_row(self, *cells: "str | Text", style: str = "") -> None:
        """Add a row; cells that are missing at its end are empty, and those behind the last column are left out."""
        columns = len(self.columns)
        self._rows.append(((*cells, *("",) * (columns - len(cells)))[:columns], style))

    def html(self) -> str:
        """Return the table as HTML; rows in bold are of class ``ours``."""

        def line(tag: str, cells: Sequence[str], style: str = "") -> str:
            kinds = [' class="text"' if name in self.words else "" for name in self.columns]
            row = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
            opening = '<tr class="ours">' if style == "bold" else "<tr>"
            return f"{opening}{row}</tr>"

        body = "\n".join(line("td", cells, style) for cells, style in self._texts())
        return f"<table>\n<thead>{line('th', self.columns)}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"

    def _texts(self) -> Iterator[tuple[list[str], str]]:
        """Yield the texts of each row, and its style."""
        for cells, style in self._rows:
            yield [cell if isinstance(cell, str) else cell.plain for cell in cells], style

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich import box
        from rich.table import Table

        table = Table(
            title=self.title or None,
            caption=self._caption or None,
            caption_justify="left",
            box=box.SIMPLE,
            show_footer=bool(self.total),
            show_edge=not self._compact,
        )
        for place, name in enumerate(self.columns):
            footer = self.total[place] if self.total else ""
            if name in self.words:
                table.add_column(name, footer=footer, overflow="fold")
            else:
                table.add_column(name, footer=footer, justify="right", no_wrap=True)
        for cells, style in self._rows:
            table.add_row(*cells, style=style or None)
        yield table
