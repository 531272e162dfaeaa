"""The address at which the processes of a pipeline meet to open channels."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendezvous:
    """The address at which gloo's ranks meet: a store.

    Attributes:
        host: Where it is; ``port``, at which port.
        prefix: What its keys begin with, for one store may serve several.
        interface: The network interface that messages of this rank go through.
    """

    host: str
    port: int
    prefix: str
    interface: str
