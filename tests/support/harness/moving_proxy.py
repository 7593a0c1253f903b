"""What stands in front of servers and moves connections, as a service address does.

Connections that are there stay where they are when it moves; new ones go elsewhere.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

Address = tuple[str, int]


@dataclass
class MovingProxy:
    """A proxy over TCP.

    Attributes:
        listener: where clients come in.
        target: where new connections lead to.
    """

    listener: socket.socket
    target: Address
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
                for source, sink in ((client, server), (server, client)):
                    self._open.enter_context(closing(source))
                    Thread(target=_pump, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self._open.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def run_moving_proxy(target: Address) -> Iterator[MovingProxy]:
    """Lead connections to ``target``, or wherever the proxy is told to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = MovingProxy(listener, target)
        thread = Thread(target=proxy.serve)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.close()
            thread.join()
