"""One request while it comes in: how much of it is there. Pure, no socket.

Only where a request ends is found out here; what it says is gunicorn's to read, from
its first byte on. Where the two could disagree (see ``RequestHead.is_plain``) the
connection is not used again, so no byte of one request is ever taken for the next one.

Source: RFC 9112, sections 6 (message body) and 7.1 (chunked).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from gunicorn.util import split_request_uri

# More than gunicorn takes for a line; many senders send less than one kilobyte in all.
LONGEST_HEAD = 32_768
_END = b"\r\n\r\n"
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
# Any number of digits, leading zeros among them; white space before an extension only.
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]+)(?:[ \t]*;.*)?", re.DOTALL)
# The same while its end has not come.
_BEGUN_CHUNK_SIZE = re.compile(
    rb"[0-9a-fA-F]*(?:(?<=[0-9a-fA-F])(?:[ \t]*(?:;.*)?\r?))?", re.DOTALL
)
_LONGEST_CHUNK_LINE = 4096


class TooLarge(ValueError):
    """The peer sends more than is read.

    Attributes:
        status: the HTTP status that says so.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"too large: {status}")
        self.status = status


class BadChunks(ValueError):
    """A body is said to come in chunks, and what comes is none."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Request line and headers.

    Attributes:
        method: as it was sent.
        target: as it was sent.
        headers: by lower-case name; each character of a value stands for one byte, and
            repeated ones are joined by commas, as in WSGI.
        size_bytes: of all of it, with the empty line.
        length: of the body in bytes; None: it comes in chunks.
        is_plain: whether everybody would agree where the body ends.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    size_bytes: int
    length: int | None
    is_plain: bool

    @property
    def path(self) -> str:
        """The path, percent-decoded and without the query, as the application sees.

        Of a target with scheme and host, too, as proxies are sent it (RFC 9112, 3.2.2).
        """
        try:
            # Gunicorn's own, so that both see the same path.
            parts = split_request_uri(self.target)
        except ValueError:
            return ""  # which gunicorn refuses
        # Routes are found however many slashes come before them.
        return "/" + unquote(parts.path).lstrip("/")

    @property
    def is_asking(self) -> bool:
        """Whether the peer waits for a word of ours before it sends the body."""
        return self.headers.get("expect", "").strip().lower() == "100-continue"

    @classmethod
    def read(cls, text: bytes) -> "RequestHead":
        """Return the head in ``text``, which ends with the empty line."""
        line, *lines = text.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, _, rest = line.partition(" ")
        headers: dict[str, str] = {}
        # An empty line comes before the request line; gunicorn passes over it.
        is_plain = bool(method)
        for each in lines:
            name, colon, value = each.partition(":")
            key, value = name.lower(), value.strip(" \t")
            # A folded line, or a name that another parser would read otherwise.
            is_plain &= bool(colon) and name == name.strip()
            headers[key] = f"{headers[key]},{value}" if key in headers else value
        length: int | None = 0
        coding, given = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None:
            is_plain &= coding.lower() == "chunked" and given is None
            length = None if is_plain else 0
        elif given is not None:
            is_plain &= _LENGTH.fullmatch(given) is not None
            length = int(given) if is_plain else 0
        target = rest.rpartition(" ")[0]
        return cls(method, target, headers, len(text), length, is_plain)


class RequestBuffer:
    """The bytes that have come over one connection and were not worked on yet.

    Attributes:
        head: of the first request in them, as soon as it is there.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._seen = 0
        self._end: int | None = None
        self.head: RequestHead | None = None

    def __len__(self) -> int:
        return len(self._bytes)

    def feed(self, data: bytes) -> None:
        """Add what came, which may be nothing.

        Raises:
            TooLarge: the head has no end.
        """
        self._bytes += data
        if self.head is not None:
            return
        end = self._bytes.find(_END, self._seen)
        if end < 0 or end + len(_END) > LONGEST_HEAD:
            if len(self._bytes) > LONGEST_HEAD:
                raise TooLarge(431)
            self._seen = max(0, len(self._bytes) - len(_END) + 1)
            return
        self._seen = end + len(_END)
        self.head = RequestHead.read(bytes(self._bytes[: self._seen]))

    def is_whole(self, largest: int) -> bool:
        """Whether the first request is there with all of its body.

        Args:
            largest: so large a body is waited for.

        Raises:
            TooLarge: the chunks of the body take much more than that.
            BadChunks: they are none.
        """
        head = self.head
        if head is None or (head.length is None and not largest):
            # Of a peer from whom nothing is taken the chunks are not looked at either.
            return False
        if self._end is None:
            self._end = self._found_end(head, largest)
        if self._end is not None:
            return True
        # Each chunk has a line around it, and some senders make small ones.
        most = head.size_bytes + 2 * largest + _LONGEST_CHUNK_LINE
        if head.length is None and len(self._bytes) > most:
            raise TooLarge(413)
        return False

    def take(self) -> bytes:
        """Return the first request, as far as it is there; what follows stays.

        ``feed`` again to have a look at what follows.
        """
        with memoryview(self._bytes) as view, view[: self._end] as first:
            request = bytes(first)
        del self._bytes[: len(request)]
        self._seen, self._end, self.head = 0, None, None
        return request

    def _found_end(self, head: RequestHead, largest: int) -> int | None:
        if not head.is_plain:
            return len(self._bytes)
        if head.length is not None:
            end = head.size_bytes + head.length
            return end if end <= len(self._bytes) else None
        return self._end_of_chunks(largest)

    def _end_of_chunks(self, largest: int) -> int | None:
        """Go from chunk to chunk, on from where the last call has stopped."""
        while (line_end := self._bytes.find(b"\r\n", self._seen)) >= 0:
            size = _CHUNK_SIZE.fullmatch(self._bytes, self._seen, line_end)
            if size is None:
                raise BadChunks("no size of a chunk")
            length = int(size[1], 16)
            if length > largest:
                raise TooLarge(413)
            if length == 0:
                return self._end_of_trailers(line_end)
            end = line_end + 2 + length
            if not b"\r\n".startswith(self._bytes[end : end + 2]):
                raise BadChunks("no end of a chunk")
            if end + 2 > len(self._bytes):
                return None
            self._seen = end + 2
        if _BEGUN_CHUNK_SIZE.fullmatch(self._bytes, self._seen) is None:
            raise BadChunks("no size of a chunk")
        return None

    def _end_of_trailers(self, line_end: int) -> int | None:
        if self._bytes[line_end + 2 : line_end + 4] == b"\r\n":
            return line_end + 4
        end = self._bytes.find(_END, line_end + 2)
        return end + len(_END) if end >= 0 else None
