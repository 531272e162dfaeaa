"""The turn on a core that several stages share: who has it runs alone there, and the others sleep.

It is a record lock of the kernel on a piece of shared memory: a process that waits for it is not scheduled, and one
that ends, however that is, gives it back. A stage takes its turn only when it has all it needs for an action, and waits
for nothing while it has it; so whoever has the turn comes to an end, and no order of actions can make stages wait for
each other in a circle that the schedule does not have itself.
"""

import fcntl

from runtime.channels import SharedMemory


class Turn:
    """A context manager: inside, this process has the core to itself among all that take turns on it."""

    def __init__(self, lock: SharedMemory) -> None:
        """Take turns with all processes that have the same memory."""
        self._lock = lock

    def __enter__(self) -> None:
        """Sleep until it is this process's turn."""
        fcntl.lockf(self._lock.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_error: object) -> None:
        """Let another have the core."""
        fcntl.lockf(self._lock.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the memory."""
        self._lock.close()
