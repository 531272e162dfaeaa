"""The last module that the forkserver imports: it makes ready to be forked what the others have made."""

import gc
import signal

gc.collect()
gc.freeze()  # no collection in a process touches, and so copies, what all share
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which may come to a whole group of processes: it ends with its parent
