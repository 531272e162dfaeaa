"""Whole nanoseconds: the search compares integers, and this is where floats become some."""

from profiler.profile import Link, copy_s

NANOSECONDS = 1_000_000_000


def nanoseconds(seconds: float) -> int:
    """Return ``seconds`` in whole nanoseconds."""
    return round(seconds * NANOSECONDS)


def copy_ns(link: Link, size: int) -> int:
    """Return what copying ``size`` bytes into a slot costs."""
    return nanoseconds(copy_s(link, size))
