"""Say what casts doubt on a profile: the one closed list of its warnings, each with a cause and a remedy."""

from profiler.types import Profile

CLOSURE_LIMIT = 0.05
DRIFT_LIMIT = 0.05
FOREIGN_LOAD_LIMIT = 0.03
PRECISION_LIMIT = 0.04


def doubts(profile: Profile) -> list[str]:
    """Return the warnings that a profile deserves, as sentences; none for a good one."""
    found = []
    if abs(profile.closure_error) > CLOSURE_LIMIT:
        cause = (
            "this core worked for others in between"
            if profile.foreign_load > FOREIGN_LOAD_LIMIT
            else "the plain and the instrumented step met different conditions, such as a changing clock"
        )
        found.append(
            f"The layers add up to {profile.closure_error:+.1%} of the whole step, most likely because {cause}; "
            "profile again on an idle core."
        )
    if profile.foreign_load > FOREIGN_LOAD_LIMIT:
        found.append(
            f"The core worked for others in {profile.foreign_load:.0%} of the time; end what runs there, or choose "
            "another with --cores."
        )
    if abs(profile.drift) > DRIFT_LIMIT:
        found.append(
            f"The last rounds were {profile.drift:+.0%} off the first, so the machine's speed drifted; let it settle "
            "and profile again."
        )
    if profile.precision > PRECISION_LIMIT:
        found.append(
            f"The costliest layers are known to ±{profile.precision:.0%} only, after {profile.rounds} rounds; give "
            "more time with --budget."
        )
    return found
