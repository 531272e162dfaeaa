"""Results that show and keep themselves: ``str`` gives the table, a notebook its HTML, ``save`` the JSON file."""

import io
import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from profiler.files import to_json, write_whole
from profiler.python_arguments import python_face

if TYPE_CHECKING:
    from rich.console import Console

LEAST_WIDTH = 80
"""What holds every table."""
WIDE = 170
"""What a notebook scrolls through; a terminal is as wide as it is."""


class Shown:
    """A frozen dataclass that is a file, and has a table.

    Attributes:
        table: What prints the table: ``package.module:function``, called with the result and a rich console.
    """

    __slots__ = ()
    table: ClassVar[str]

    @python_face
    def save(self, path: str | Path) -> None:
        """Write the result as JSON, which ``stageplan.load`` and every command read.

        Raises:
            FileError: It cannot be written.
        """
        write_whole(Path(path), to_json(self))

    def __str__(self) -> str:
        return self._printed(max(LEAST_WIDTH, shutil.get_terminal_size().columns)).export_text().rstrip("\n")

    def _repr_html_(self) -> str:
        return self._printed(WIDE).export_html(inline_styles=True, code_format="<pre>{code}</pre>")

    def _printed(self, width: int) -> "Console":
        from rich.console import Console

        console = Console(record=True, file=io.StringIO(), width=width, highlight=False, markup=False)
        module, _, function = self.table.partition(":")
        getattr(import_module(module), function)(self, console)
        return console
