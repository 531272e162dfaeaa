"""Make comparisons: what is wanted, taken up or begun, carried out; for the command and for Python."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.comparing.folder_lock import locked
    from runtime.comparing.job import Job, job_of
    from runtime.comparing.wish import Wish, request_of
    from runtime.comparing.work import carry_out, write
else:
    __getattr__ = on_demand(__name__)
