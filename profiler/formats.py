"""Read a profile from a file, whatever kind of profile it is; the kind is told by the content."""

from pathlib import Path

import msgspec

from profiler.errors import FileError
from profiler.files import from_json, read_bytes
from profiler.fit import Fit
from profiler.pipedream import looks_like_graph, read_graph
from profiler.types import Profile

HEAD_BYTES = 4096
"""So much of a file tells its kind."""


def read_profile(path: Path, batch_size: int | None = None) -> Profile:
    """Return the profile that ``path`` holds, or that its fit gives for ``batch_size``.

    Raises:
        FileError: The file cannot be read, or holds no profile.
        ProfilerError: It holds a fit that does not answer for ``batch_size``.
    """
    content = read_bytes(path)
    if looks_like_graph(content[:HEAD_BYTES].decode(errors="replace")):
        return read_graph(content.decode(errors="replace"), path)
    try:
        kind = msgspec.json.decode(content, type=_Kind).kind
    except msgspec.MsgspecError:
        kind = ""
    if kind != "fit":
        return from_json(content, Profile, str(path))
    found = from_json(content, Fit, str(path))
    if batch_size is None:
        raise FileError(
            f"{path} is a fit for batch sizes {found.low.batch_size} to {found.high.batch_size}; choose one with "
            "--batch-size"
        )
    return found.at(batch_size)


class _Kind(msgspec.Struct):
    kind: str = ""
