"""A TCP proxy between a client and a PostgreSQL server that breaks the connection at chosen places.

It counts what passes to the server over all connections; every fault happens once, then the proxy is just a proxy.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PIECE = 1 << 14


class FlakyProxy:
    """Listens on a port of its own and hands everything on.

    Args:
        port: Where the server listens on this machine.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._lock = threading.Lock()
        self._sent = 0
        self._cut_at: int | None = None
        self._word: bytes | None = None
        self._nth = 1
        self._deliver = False
        self._silent = False
        self._refuse = 0
        self.cuts = 0
        self.connections = 0
        self._pairs: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int) -> None:
        """Cut when so many more bytes have passed to the server."""
        with self._lock:
            self._cut_at = self._sent + count

    def cut_at(self, word: bytes, *, deliver: bool, nth: int = 1) -> None:
        """Cut when a word passes to the server.

        Args:
            word: Such as ``COMMIT``.
            deliver: The server gets it, and only its answer is lost; otherwise it never comes there.
            nth: At which time it passes.
        """
        with self._lock:
            self._word, self._deliver, self._nth = word, deliver, nth

    def refuse(self, times: int) -> None:
        """Close so many of the next connections as soon as they are made."""
        with self._lock:
            self._refuse = times

    def cut_now(self) -> None:
        """Cut every connection."""
        with self._lock:
            pairs = list(self._pairs)
        for end in pairs:
            _drop(end)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self._listener.close()
        self.cut_now()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                refused = self._refuse > 0
                self._refuse -= refused
            if refused:
                _drop(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            except OSError:
                _drop(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._pairs |= {client, server}
            answers = threading.Event()
            threading.Thread(target=self._up, args=(client, server, answers), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client, answers), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, hushed: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(_PIECE):
                cut, delivered = self._fault(data)
                if cut:
                    hushed.set()  # what the server says from now on is lost
                if not cut or delivered:
                    server.sendall(data)
                if cut:
                    if delivered:
                        # The server ends its side only when it has done what it was told.
                        server.shutdown(socket.SHUT_WR)
                        while server.recv(_PIECE):
                            pass
                    break
        _drop(server)
        _drop(client)

    def _fault(self, data: bytes) -> tuple[bool, bool]:
        with self._lock:
            self._sent += len(data)
            if self._cut_at is not None and self._sent >= self._cut_at:
                self._cut_at = None
                self.cuts += 1
                return True, False
            if self._word is not None and self._word in data:
                self._nth -= 1
                if not self._nth:
                    self._word = None
                    self.cuts += 1
                    return True, self._deliver
        return False, False

    @staticmethod
    def _down(server: socket.socket, client: socket.socket, hushed: threading.Event) -> None:
        with suppress(OSError):
            while not hushed.is_set() and (data := server.recv(_PIECE)):
                if not hushed.is_set():
                    client.sendall(data)
        if not hushed.is_set():
            _drop(client)
            _drop(server)


def _drop(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def flaky(port: int) -> Iterator[FlakyProxy]:
    """Give a proxy in front of a server on this machine."""
    proxy = FlakyProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
