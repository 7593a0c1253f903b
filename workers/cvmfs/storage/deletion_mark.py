"""Whether anything may have been deleted since some moment.

Whoever looks an object up and names it later, in a commit, has to know that it was not
deleted in between. So each deletion changes a small mutable file, and *marks* are
compared: the mark is read before the look-up, and again under the lock. Deletions
happen under the lock only. While one is going on, or after one was killed, there is no
mark, and nothing counts as looked up.

The stock tools' own collection shows in their status file, which is part of the mark.
"""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

from workers.cvmfs.errors import NotFound
from workers.cvmfs.storage.storage import COLLECTION, STATUS, ObjectSource, Storage

_UNDER_WAY = b"deleting\n"
# Not by the locale, which is for people.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def deletion_mark(source: ObjectSource) -> bytes | None:
    """Return what changes with each deletion; ``None`` while one may be under way."""
    ours = _content(source, COLLECTION)
    return None if ours == _UNDER_WAY else ours + _content(source, STATUS)


@contextmanager
def deleting(storage: Storage) -> Iterator[None]:
    """Let nothing count as looked up within; to be used under the lock."""
    storage.replace(COLLECTION, _UNDER_WAY)
    yield
    # Not reached when the deletion fails: what was deleted by then is not known.
    storage.replace(COLLECTION, secrets.token_hex(16).encode() + b"\n")


def note_collection(storage: Storage, now: int) -> None:
    """Write the time of a collection where the stock tools look for it.

    In the form of ``date --utc``, as they parse it with ``date``. It changes the mark,
    as their own collections do. To be used under the lock.

    Source: cvmfs/server/cvmfs_server_json.sh, ``update_repo_status``.
    """
    status = _status(storage)
    status["last_gc"] = _utc(now)
    storage.replace(STATUS, json.dumps(status, indent=2).encode() + b"\n")


def last_collection(source: ObjectSource) -> str | None:
    """Return when garbage was last collected, ours or the stock tools', as they say."""
    said = _status(source).get("last_gc")
    return said if isinstance(said, str) else None


def _status(source: ObjectSource) -> dict[str, object]:
    # More than the file may be there; see ``StockStorage``.
    text = _content(source, STATUS).decode(errors="replace").lstrip()
    try:
        known, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def _utc(now: int) -> str:
    moment = time.gmtime(now)
    day, month = _DAYS[moment.tm_wday], _MONTHS[moment.tm_mon - 1]
    clock = time.strftime("%H:%M:%S", moment)
    return f"{day} {month} {moment.tm_mday:2d} {clock} UTC {moment.tm_year}"


def _content(source: ObjectSource, path: str) -> bytes:
    try:
        return source.get(path)
    except NotFound:
        return b""
