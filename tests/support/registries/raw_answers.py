"""A server that says, byte for byte, what no library would let one say."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

_SECONDS = 30.0


@contextlib.contextmanager
def raw_answers(*answers: bytes) -> Iterator[str]:
    """Answer so many requests, one after the other; yield host:port.

    A request for which there is no answer is not accepted.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_SECONDS)

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as asked:
                for answer in answers:
                    while asked.readline().strip():
                        pass
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join(_SECONDS)
            if thread.is_alive():
                pytest.fail("not all answers were asked for")
