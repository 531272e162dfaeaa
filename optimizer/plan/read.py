"""Read the plan that a command is given."""

from pathlib import Path

from optimizer.errors import OptimizerError
from optimizer.plan.plan import Plan
from profiler.files import read_json


def unreplicated_plan(path: Path, who: str) -> Plan:
    """Return the plan in a file.

    Args:
        path: The file.
        who: What knows no replicas, as a user calls it.

    Raises:
        OptimizerError: It has replicated stages.
        FileError: It cannot be read, or is no plan.
    """
    plan = read_json(path, Plan)
    if plan.layout.replicated:
        raise OptimizerError(f"{path} has replicated stages, which {who} does not know; plan without --replicate")
    return plan
