"""Read whichever result a file holds."""

from pathlib import Path

from optimizer.plan import Plan
from profiler.files import read_kind
from profiler.profile import Profile
from profiler.python_arguments import python_face
from runtime.compare import Comparison
from runtime.results import RunResult

Result = Profile | Plan | Comparison | RunResult


@python_face
def load(path: str | Path) -> Result:
    """Read a profile, plan, comparison or run's result, as ``save`` or a command wrote it.

    Raises:
        FileError: It cannot be read, or is none of them.
    """
    result: Result = read_kind(Path(path), (Profile, Plan, Comparison, RunResult))
    return result
