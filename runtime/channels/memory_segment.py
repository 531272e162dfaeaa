"""Anonymous shared memory: it has no name that could leak, and no size limit but memory itself.

The kernel frees it when the last process that has it goes, however that process ends.
"""

import mmap
import os

from runtime.errors import RunError


class SharedMemory:
    """A piece of memory that processes share by its file descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind ``descriptor``, which this memory closes."""
        self.descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self.memory = mmap.mmap(descriptor, size) if size else memoryview(bytearray())

    @classmethod
    def create(cls, size: int) -> "SharedMemory":
        """Return a new memory of ``size`` bytes, all zero."""
        descriptor = os.memfd_create("stageplan", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            return cls(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise RunError(
                f"cannot share {size >> 20} MiB of memory: {error.strerror}; use a smaller --batch-size"
            ) from error

    def close(self) -> None:
        """Close the descriptor; the mapping goes with the last tensor that lives in it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def unmap(self) -> None:
        """Let go of descriptor and mapping, which would count as this process's memory; no tensor may live in it."""
        self.close()
        if isinstance(self.memory, mmap.mmap):
            self.memory.close()
