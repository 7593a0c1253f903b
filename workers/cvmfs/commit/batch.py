"""Changes that come into force together, as a value that any process can commit.

A batch is small whatever the size of its images, because their trees are prepared
already: it names catalogs and contents. Its text is JSON in which bytes stand as
Latin-1, so that no name in a file system is lost.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers.cvmfs.catalog.counters import Counters
from workers.cvmfs.catalog.prepare import PreparedTree
from workers.cvmfs.commit.changes import (
    Change,
    EditRecords,
    GraftTree,
    PutFile,
    PutLink,
    RemovePath,
    RequirePath,
)
from workers.cvmfs.errors import Malformed
from workers.cvmfs.values.dirent import Chunk, Content, Dirent
from workers.cvmfs.values.hash import ContentHash

_VERSION = 1
"""Raised when older processes would misread the text."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Changes of which all become visible, in one revision, or none.

    Each is itself and equal to no other, so that it can be a key.

    Attributes:
        changes: in their order.
        complete_at: the ``deletion_mark`` at which the contents of its files were known
            to be there; ``None`` when a commit has to look them up.
    """

    changes: tuple[Change, ...]
    complete_at: bytes | None

    def encode(self) -> str:
        """Return it as text."""
        return json.dumps(
            {
                "version": _VERSION,
                "complete_at": _optional_text(self.complete_at),
                "changes": [_encoded(change) for change in self.changes],
            },
            separators=(",", ":"),
        )

    @classmethod
    def decode(cls, text: str | bytes) -> "Batch":
        """Read what ``encode`` wrote, in this process or another.

        Raises:
            Malformed: it is something else, or of another version.
        """
        try:
            said = json.loads(text)
            if said["version"] != _VERSION:
                raise Malformed(f"a batch of version {said['version']!r:.20}")
            changes = tuple(_decoded(*one) for one in said["changes"])
            return cls(changes, _optional_bytes(said["complete_at"]))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise Malformed(f"not a batch of changes: {error}") from error


def _encoded(change: Change) -> tuple[str, list[object]]:
    path = _text(change.path)
    match change:
        case GraftTree(prepared=tree):
            root = tree.root
            return "graft", [
                path,
                str(tree.hash),
                tree.size,
                [root.mode, root.uid, root.gid, root.mtime, root.mtime_ns],
                [(_text(name), _text(value)) for name, value in root.xattrs],
                tree.link_count,
                tree.counters,
                _optional_text(tree.complete_at),
            ]
        case PutLink():
            target = _text(change.target)
            return "link", [path, target, change.uid, change.gid, change.mtime]
        case PutFile():
            numbers = [change.mode, change.uid, change.gid, change.mtime]
            return "file", [path, _content_fields(change.content), *numbers]
        case RemovePath():
            return "remove", [path]
        case RequirePath():
            return "require", [path]
        case EditRecords():
            return "records", [path, change.records, change.names]


def _decoded(kind: str, fields: Sequence[Any]) -> Change:
    path = _bytes(fields[0])
    match kind, fields[1:]:
        case "graft", (digest, size, numbers, xattrs, links, counters, complete_at):
            mode, uid, gid, mtime, mtime_ns = map(_number, numbers)
            root = Dirent(mode, uid, gid, mtime, mtime_ns)
            pairs = tuple((_bytes(name), _bytes(value)) for name, value in xattrs)
            prepared = PreparedTree(
                path=path,
                hash=ContentHash.parse(digest),
                size=_number(size),
                root=root._replace(xattrs=pairs),
                link_count=_number(links),
                counters=Counters(*map(_number, counters)),
                # Whoever prepared it tells of these.
                losses={},
                complete_at=_optional_bytes(complete_at),
            )
            return GraftTree(path, prepared)
        case "link", (target, uid, gid, mtime):
            return PutLink(path, _bytes(target), uid, gid, mtime)
        case "file", (content, mode, uid, gid, mtime):
            return PutFile(path, _content(*content), _number(mode), uid, gid, mtime)
        case "remove", ():
            return RemovePath(path)
        case "require", ():
            return RequirePath(path)
        case "records", (records, names):
            for record in map(json.loads, records):
                _string(record["id"])
            return EditRecords(path, tuple(records), tuple(map(_string, names)))
    raise Malformed(f"a change of kind {kind!r:.20} with {len(fields)} fields")


def _content_fields(content: Content) -> list[object]:
    chunks = [[c.offset, c.size, c.hash.hex()] for c in content.chunks]
    whole = None if content.hash is None else content.hash.hex()
    return [whole, content.size, content.compression, chunks, content.algorithm]


def _content(
    whole: str | None, size: int, compression: int, chunks: Any, algorithm: int
) -> Content:
    return Content(
        None if whole is None else bytes.fromhex(whole),
        _number(size),
        _number(compression),
        tuple(
            Chunk(_number(offset), _number(length), bytes.fromhex(digest))
            for offset, length, digest in chunks
        ),
        _number(algorithm),
    )


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise Malformed(f"a batch with {value!r:.20} for a number")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed(f"a batch with {value!r:.20} for a text")
    return value


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _optional_text(data: bytes | None) -> str | None:
    return None if data is None else _text(data)


def _optional_bytes(text: str | None) -> bytes | None:
    return None if text is None else _bytes(text)
