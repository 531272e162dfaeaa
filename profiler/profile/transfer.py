"""What sending some bytes costs, from a link's measured sizes."""

from profiler.profile.profile import Link


def copy_s(link: Link, size: int) -> float:
    """Return what copying ``size`` bytes into a slot takes: straight lines between the measured sizes and beyond them.

    A link without measurements costs nothing.
    """
    if size == 0 or not link.sizes_bytes:
        return 0.0
    import numpy as np  # here, for tables are named at start-up and numpy takes as long to import as all else

    if size > link.sizes_bytes[-1]:
        return link.copy_s[-1] * size / link.sizes_bytes[-1]
    return float(np.interp(size, np.array(link.sizes_bytes, dtype=float), np.array(link.copy_s)))
