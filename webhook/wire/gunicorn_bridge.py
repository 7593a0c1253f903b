"""One request that is there, put through the application; its answer, ready to leave.

Parsing, the WSGI environment and the form of the answer are gunicorn's. Nothing here
reads from a socket or writes to one.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from io import BytesIO
from typing import Any

from gunicorn.config import Config
from gunicorn.http import errors, wsgi
from gunicorn.http.parser import RequestParser

from webhook.wire.response import Address, ResponseBuffer

log = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# As what gunicorn's parser refuses is answered; everything else is a plain 400.
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.LimitRequestLine, 414),
    (errors.LimitRequestHeaders, 431),
    (errors.UnsupportedTransferCoding, 501),
    (errors.ExpectationFailed, 417),
)
_RETRY_SECONDS = 5
_PIECE_BYTES = 65_536
# More than any application takes.
_UNBOUNDED = str(2**62)


_create: Any = wsgi.create


class NotAllThere(OSError):
    """The application reads a body that was not waited for."""


def refusal(status: int, reason: str) -> bytes:
    """Return an answer of our own, after which the connection ends."""
    body = json.dumps({"error": reason}).encode() + b"\n"
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
    ]
    if status in {429, 503}:
        lines.append(f"Retry-After: {_RETRY_SECONDS}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class WsgiRunner:
    """Answers requests. May be called by many threads.

    Args:
        settings: gunicorn's, for its parser.
        application: WSGI.
    """

    def __init__(self, settings: Config, application: Application) -> None:
        self._settings = settings
        self._application = application

    def answer(
        self,
        request: bytes,
        buffer: ResponseBuffer,
        *,
        peer: Address,
        here: Address,
        is_whole: bool,
        may_stay: bool,
    ) -> bool:
        """Answer one request; True when the connection may be used for another.

        Args:
            request: its bytes.
            buffer: takes the answer.
            peer: who asks.
            here: the address of ours that was asked.
            is_whole: ``request`` has all of the body.
            may_stay: there may be another request after this one.
        """
        # The published types are those of an older gunicorn.
        parser: Any = RequestParser(self._settings, _source(request, is_whole), peer)
        try:
            stays: bool = self._run(
                parser,
                buffer,
                peer,
                here,
                is_whole=is_whole,
                may_stay=is_whole and may_stay,
            )
            # If gunicorn sees the end of the request elsewhere, it is not used again.
            return (
                stays and parser.finish_body() and not parser.unreader.take_buffered()
            )
        except (errors.ParseException, errors.NoMoreData) as exc:
            # Its text may hold the path, and with it a secret.
            log.warning("sender=%s unreadable: %s", peer[0], type(exc).__name__)
            status = next(
                (code for kind, code in _STATUSES if isinstance(exc, kind)), 400
            )
            answer = refusal(status, "the request is not readable")
        except Exception:
            log.exception("sender=%s not answered", peer[0])
            answer = refusal(503, "try again later")
        buffer.close()
        buffer.sendall(answer)
        return False

    def _run(
        self,
        parser: Any,
        buffer: ResponseBuffer,
        peer: Address,
        here: Address,
        *,
        is_whole: bool,
        may_stay: bool,
    ) -> bool:
        request = next(parser)
        # The server has said so already, if it waited for the body.
        request._expected_100_continue = False  # noqa: SLF001
        response, environ = _create(request, buffer, peer, here, self._settings)
        environ["wsgi.multithread"] = True
        _as_path(request, environ)
        if is_whole:
            # What is wrong with it is said here, and not by whoever reads it.
            environ["wsgi.input"] = BytesIO(request.body.read())
        elif environ.pop("HTTP_TRANSFER_ENCODING", None) is not None:
            # Too large to be waited for, as if that had been announced.
            environ["CONTENT_LENGTH"] = _UNBOUNDED
        if not may_stay:
            response.force_close()
        parts = self._application(environ, response.start_response)
        try:
            if isinstance(parts, wsgi.FileWrapper):
                response.write_file(parts)
            else:
                for part in parts:
                    response.write(part)
            response.close()
        finally:
            if hasattr(parts, "close"):
                parts.close()
            # Frameworks put the request in there, which has it: the body would stay
            # until somebody looks for cycles.
            environ.clear()
        return not response.should_close()


def _as_path(request: Any, environ: dict[str, Any]) -> None:
    """Let the application see a target with scheme and host as its path.

    Source: RFC 9112, section 3.2.2; the host of the target counts.
    """
    scheme, mark, rest = request.uri.partition("://")
    if mark and scheme.lower() in {"http", "https"}:
        environ["HTTP_HOST"] = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
        environ["PATH_INFO"] = environ["PATH_INFO"] or "/"


def _source(request: bytes, is_whole: bool) -> Iterator[bytes]:  # noqa: FBT001
    # In pieces, for the parser copies what it has read and not used yet.
    for start in range(0, len(request), _PIECE_BYTES):
        yield request[start : start + _PIECE_BYTES]
    if not is_whole:
        raise NotAllThere("the body was not waited for")
