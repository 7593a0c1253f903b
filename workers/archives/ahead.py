"""Contents read ahead, so that a slow storage is not waited for file by file.

A bucket takes its time for each object; an image has tens of thousands. Small files are
read side by side while others are being written. Large ones are streamed when it is
their turn. Memory is bounded, whatever the image.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from workers.archives.entries import ArchiveEntry, Read

_AT_ONCE = 8
_SMALL_BYTES = 1 << 18
_MOST_BYTES = 16 << 20
_MOST_ENTRIES = 512

_Waiting = tuple[ArchiveEntry, Future[bytes] | None, int]


def with_contents(
    entries: Iterable[ArchiveEntry], read: Read
) -> Iterator[tuple[ArchiveEntry, Iterable[bytes] | None]]:
    """Yield entries in their order, with the content of those that are files.

    A further name of a file has none. A content is to be used up before the next entry
    is asked for.

    Raises:
        FormatError: and whatever else ``read`` raises, when it is the file's turn.
    """
    waiting: deque[_Waiting] = deque()
    size = 0
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ahead") as executor:
        try:
            for entry in entries:
                content = entry.dirent.content
                future, length = None, 0
                if (
                    content is not None
                    and content.size <= _SMALL_BYTES
                    and not entry.first
                ):
                    length = content.size
                    future = executor.submit(_whole, read, entry)
                waiting.append((entry, future, length))
                size += length
                while size > _MOST_BYTES or len(waiting) > _MOST_ENTRIES:
                    first = waiting.popleft()
                    size -= first[2]
                    yield _content(first, read)
            while waiting:
                yield _content(waiting.popleft(), read)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _whole(read: Read, entry: ArchiveEntry) -> bytes:
    return b"".join(read(entry.dirent))


def _content(
    first: _Waiting, read: Read
) -> tuple[ArchiveEntry, Iterable[bytes] | None]:
    entry, future, _ = first
    if future is not None:
        return entry, (future.result(),)
    if entry.dirent.content is None or entry.first:
        return entry, None
    return entry, read(entry.dirent)
