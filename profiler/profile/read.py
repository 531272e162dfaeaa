"""Read a profile from a file: one of ours, or a graph that was published with PipeDream."""

from pathlib import Path

from profiler.errors import FileError
from profiler.files import from_json, read_bytes, refuse_control_signs
from profiler.profile.contradictions import odd_values
from profiler.profile.pipedream_graph import looks_like_graph, read_graph
from profiler.profile.profile import Profile

HEAD_BYTES = 4096
"""So much of a file tells its kind."""


def read_profile(path: Path) -> Profile:
    """Return the profile that ``path`` holds; its content tells which kind of file it is.

    Raises:
        FileError: The file cannot be read, or holds no profile.
    """
    content = read_bytes(path)
    if looks_like_graph(content[:HEAD_BYTES].decode(errors="replace")):
        refuse_control_signs(content, str(path), "check the file")
        profile = read_graph(content.decode(errors="replace"), path)
        for contradiction in odd_values(profile):
            raise FileError(f"{path} contradicts itself: {contradiction}; check the file")
        return profile
    return from_json(content, Profile, str(path))
