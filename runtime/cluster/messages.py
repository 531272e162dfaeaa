"""What ranks tell each other in the launcher's store; what comes in is decoded as one of these, or refused."""

from typing import Any, TypeVar

import msgspec

from runtime.failure import Failure

T = TypeVar("T")


class Member(msgspec.Struct, frozen=True):
    """One of the ranks.

    Attributes:
        boot: Which boot of which machine it runs on, which hosts in containers share.
        nonce: What tells it from another process in its place.
    """

    rank: int
    host: str
    address: str
    boot: str
    nonce: str = ""

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} ({self.address})"


class Heartbeat(msgspec.Struct, frozen=True):
    """A rank's sign of life, with all that the others have to know of it.

    Attributes:
        number: How many there have been before.
        waits_for: What its stage waits for, if it does, since ``waits_s`` seconds.
        failure: What has befallen it.
        gone: The rank whose process it has seen end.
        left: Whether it has ended in order.
        stopping: Whether it was told to end, so that all train what has been read, and no more.
    """

    number: int = 0
    waits_for: str = ""
    waits_s: float = 0.0
    failure: Failure | None = None
    gone: int | None = None
    left: bool = False
    stopping: bool = False


# Made before there are threads: to work out a type in one while another collects garbage ends the process.
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Member, Heartbeat, Failure)
}


def encoded(message: Member | Heartbeat | Failure) -> str:
    """Return a message as the store takes it."""
    return msgspec.json.encode(message).decode()


def decoded(content: bytes, kind: type[T]) -> T:
    """Return the message that was found in the store; raises ``msgspec.MsgspecError`` where it is none."""
    message: T = _DECODERS[kind].decode(content)
    return message
