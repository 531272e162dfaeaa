"""Parse single arguments: numbers, times, sizes, lists of cores."""

import argparse


def positive(text: str) -> int:
    """Parse a whole number from 1 up."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return number


def count(text: str) -> int:
    """Parse a whole number from 0 up."""
    return 0 if text == "0" else positive(text)


def shape(text: str) -> tuple[int, ...]:
    """Parse a shape such as ``16,32``."""
    return tuple(positive(part) for part in text.split(","))


def duration(text: str) -> float:
    """Parse a time such as ``30s``, ``2m`` or ``45`` into seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in {"s", "m"} else (text, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60}[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time above 0 such as 30s or 2m")
    return seconds


def size(text: str) -> int:
    """Parse a size such as ``2GiB``, ``512MiB`` or ``4096B`` into bytes."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
    unit = next((unit for unit in units if text.endswith(unit)), None)
    try:
        count = float(text.removesuffix(unit)) * units[unit] if unit else 0.0
    except ValueError:
        count = 0.0
    if not 1 <= count <= 1 << 50:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size with its unit, such as 2GiB, 512MiB or 4096B")
    return int(count)


def core_list(text: str) -> tuple[int, ...]:
    """Parse a list of distinct cores such as ``0,1,2``."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = (-1,)
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of distinct cores such as 0,1,2,3")
    return numbers
