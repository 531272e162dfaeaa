"""Count the descriptors that this process has open, and leave it few more."""

import os


def open_descriptors() -> dict[int, str]:
    """Return what is open, by number."""
    links = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers
        try:
            links[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except FileNotFoundError:  # that of the folder itself
            continue
    return links
