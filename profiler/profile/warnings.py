"""Say what casts doubt on a profile: the one closed list of its warnings.

Each says first what it means for whoever plans with the profile, then the cause, then the remedy.
"""

from profiler.commands import maker, typed_form
from profiler.profile.profile import Profile

CLOSURE_LIMIT = 0.05
OTHER_WORK_LIMIT = 0.3
FOREIGN_LOAD_LIMIT = 0.03
UNCERTAINTY_LIMIT = 0.04
MOST_ROUNDS = 100
"""More rounds only average over the machine's drift."""


def profile_warnings(profile: Profile) -> list[str]:
    """Return the warnings that a profile deserves, as sentences; none for a good one."""
    warnings = []
    if abs(profile.closure_error) > CLOSURE_LIMIT:
        warnings.append(
            f"Predictions may be off by {abs(profile.closure_error):.0%}: the parts add up to "
            f"{more_or_less(profile.closure_error)} than the whole step, most likely because {_cause(profile)}."
        )
    if profile.foreign_load > FOREIGN_LOAD_LIMIT:
        warnings.append(
            f"These times are too long by up to {profile.foreign_load:.0%}: the core worked for others in "
            f"{profile.foreign_load:.0%} of the time; end what runs there, or choose another with --cores."
        )
    if profile.uncertainty > UNCERTAINTY_LIMIT:
        longer = f"{'--budget' if typed_form() else 'budget_s'} of {maker('profile')}"
        more = f"four times as many would halve that, with {longer}"
        if profile.rounds >= MOST_ROUNDS:
            more = "end what else runs on this machine"
        means = f"Splits that differ by less than {profile.uncertainty:.0%} cannot be told apart"
        if profile.loud:
            means = "Splits cannot be told apart on so loud a machine, and no other form of the model is tried"
        known = f"the costliest layers are known to ±{profile.uncertainty:.0%} only, after {profile.rounds} rounds"
        warnings.append(f"{means}: {known}; {more}.")
    return warnings


def _cause(profile: Profile) -> str:
    """Return what most likely keeps the parts from adding up, and what to do about it."""
    if profile.foreign_load > FOREIGN_LOAD_LIMIT:
        return "this core worked for others in between; profile again on an idle core"
    if abs(profile.closure_error) > OTHER_WORK_LIMIT:
        return (
            "the model's forward does something beside its layers, such as checkpointing, a branch taken by chance or "
            "work in plain Python; leave that out"
        )
    return (
        "the plain and the instrumented step met different conditions, such as a changing clock; profile again on an "
        "idle core"
    )


def more_or_less(share: float) -> str:
    """Return a signed share in words, such as ``2.0% less``."""
    return f"{abs(share):.1%} {'less' if share < 0 else 'more'}"
