"""Pass on what arrives at a port to an address, some time later: ``relay.py FROM HOST TO DELAY_S``.

A network with a long way, in place of ``tc … netem delay``, which not every kernel has.
"""

import queue
import socket
import sys
import threading
import time
from contextlib import suppress


def pass_on(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    """Carry one direction of a connection, until it ends."""
    waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def deliver() -> None:
        while True:
            due_s, content = waiting.get()
            time.sleep(max(0.0, due_s - time.monotonic()))
            with suppress(OSError):
                if content:
                    target.sendall(content)
                else:
                    target.shutdown(socket.SHUT_WR)
            if not content:
                return

    threading.Thread(target=deliver, daemon=True).start()
    while True:
        try:
            content = source.recv(1 << 16)
        except OSError:
            content = b""
        waiting.put((time.monotonic() + delay_s, content))
        if not content:
            return


def main(own: int, host: str, other: int, delay_s: float) -> None:
    """Relay until this process is ended."""
    with socket.create_server(("", own), backlog=64) as server:
        while True:
            near, _ = server.accept()
            try:
                far = socket.create_connection((host, other))
            except OSError:  # nobody listens there yet
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for ends in ((near, far), (far, near)):
                threading.Thread(target=pass_on, args=(*ends, delay_s), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
