"""Make a terminal table in the one style that all commands have."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def new_table(title: str, columns: Sequence[str], *, words: Sequence[str] = (), caption: str = "") -> "Table":
    """Return a table without rows.

    Args:
        title: Above it.
        columns: Their headings, from left to right.
        words: Those of them that hold words, which wrap; the others hold figures, which stand to the right and do not.
        caption: Below it; explains the columns.
    """
    from rich import box
    from rich.table import Table

    table = Table(title=title or None, caption=caption or None, caption_justify="left", box=box.SIMPLE)
    for column in columns:
        if column in words:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table
