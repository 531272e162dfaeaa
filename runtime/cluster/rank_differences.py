"""Refuse to run where ranks differ in what has to be the same on all of them, and name the one that differs."""

from collections import Counter
from collections.abc import Mapping, Sequence

from runtime.cluster.messages import Member
from runtime.cluster.session import Session
from runtime.errors import InputError

_SHOWN = 12


def agree(session: Session, topic: str, facts: Mapping[str, str]) -> None:
    """Compare this rank's facts with those of all others.

    Args:
        session: All ranks.
        topic: A name for this comparison.
        facts: Name and value; a long value, such as a digest, is told by its beginning.
    """
    refuse_difference(session.members, session.exchange(topic, dict(facts), dict[str, str]))


def refuse_difference(members: Sequence[Member], facts: Sequence[Mapping[str, str]]) -> None:
    """Name the first rank whose facts are not those of most."""
    for name in facts[0]:
        values = [fact.get(name, "nothing") for fact in facts]
        usual = Counter(values).most_common(1)[0][0]  # of equals, that of the lowest rank
        for member, value in zip(members, values, strict=True):
            if value != usual:
                other = members[values.index(usual)]
                raise InputError(
                    f"{member} has another {name} ({value[:_SHOWN]}) than {other} ({usual[:_SHOWN]}); give every rank "
                    "the same plan, configuration and options, and install the same versions on every host"
                )
