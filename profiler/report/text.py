"""Say seconds, bytes and counts as every table and message does."""

import shlex

MEBIBYTE = 1 << 20
WIDTH = 80


def ms(seconds: float) -> str:
    """Return milliseconds with one digit."""
    return f"{seconds * 1e3:.1f}"


def mib(size: float | None, digits: int = 0) -> str:
    """Return MiB, or a dash where the size is not known."""
    return "–" if size is None else f"{size / MEBIBYTE:.{digits}f}"


def counted(number: int, word: str) -> str:
    """Return ``1 run``, ``2 runs`` or ``1,000 runs``."""
    plural = f"{word}es" if word.endswith("tch") else f"{word}s"
    return f"{number:,} {word if number == 1 else plural}"


def shell_lines(lead: str, command: str) -> str:
    """Return a command after what leads to it; a long one below it, in lines that can be pasted into a shell."""
    if len(lead) + 1 + len(command) <= WIDTH:
        return f"{lead} {command}"
    lines, line = [lead], ""
    for word in map(shlex.quote, shlex.split(command)):
        if line and len(line) + len(word) + len(" \\") >= WIDTH:
            lines.append(f"{line} \\")
            line = "   "
        line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])
