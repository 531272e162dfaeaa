"""Made-up networks of ranks."""

from fractions import Fraction

from optimizer.plan import Link, NetworkProfile, RankFacts
from profiler.profile import Profile


def network_for(profile: Profile, factors: list[Fraction], links: list[tuple[int, int, int]]) -> NetworkProfile:
    """Ranks that are ``factors`` times as slow; links of a latency in ns and slopes in ns a byte, down and up."""
    step_s = profile.whole_step_s
    ranks = [
        RankFacts(
            host=f"h{rank}", address="", core=0, machine=profile.machine, step_s=own_s,
        )
        for rank, own_s in enumerate(float(step_s * factor) for factor in factors)
    ]  # fmt: skip
    sizes = (0, 1 << 10, 1 << 20)
    found = [
        Link(
            sizes_bytes=sizes,
            down_s=tuple((latency + slope * size) / 1e9 for size in sizes),
            up_s=tuple((latency + back * size) / 1e9 for size in sizes),
        )
        for latency, slope, back in links
    ]
    return NetworkProfile(
        model=profile.model, model_digest=profile.model_digest, batch_size=profile.batch_size,
        input_shape=profile.input_shape, slicing=profile.slicing,
        precision=profile.precision, ranks=tuple(ranks), links=tuple(found), measured_at="",
    )  # fmt: skip
