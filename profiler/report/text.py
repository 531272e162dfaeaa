"""Say seconds, bytes and counts as every table and message does."""

MEBIBYTE = 1 << 20


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
