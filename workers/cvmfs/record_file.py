"""A file that lists many things and grows with them: a JSON array of objects.

Each object is a record: its ``id`` is its key, and ``names``, if it has any, are its
alone. A commit changes some records of what is there at that moment, under the lock, so
that those who commit at the same time never lose each other's.

The file is cut into chunks behind records whose key says so, on average every 512. So a
commit stores, and a client fetches, one chunk for a record that is new or different,
however long the list has become and wherever in it the record stands.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from workers.cvmfs.dirent import ZLIB, Chunk, Content
from workers.cvmfs.errors import InvalidChange
from workers.cvmfs.hash import Kind
from workers.cvmfs.objects import put_object, read_content
from workers.cvmfs.paths import printable
from workers.cvmfs.storage import Storage

_RECORDS_OF_A_CHUNK = 512

Record = dict[str, Any]


class RecordFile:
    """The records of one file, to be changed.

    Args:
        storage: where contents are.
        path: names the file in messages.
        content: of the file; ``None`` if there is none yet.

    Raises:
        InvalidChange: it is not such a file.
    """

    def __init__(self, storage: Storage, path: bytes, content: Content | None) -> None:
        self._storage = storage
        self._content = content
        self._data = b"" if content is None else read_content(storage, content)
        try:
            listed = json.loads(self._data) if content is not None else []
            self._records: dict[str, Record] = {
                record["id"]: record for record in listed
            }
            self._owners = {
                name: key
                for key, record in self._records.items()
                for name in record.get("names") or ()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidChange(
                f"{printable(path)} is no list of records: remove it, and publish its"
                " images again"
            ) from error
        self._before = dict(self._records)

    @property
    def is_changed(self) -> bool:
        """Whether the records are others than they were."""
        return self._records != self._before

    def edit(self, records: Sequence[str], names: Sequence[str]) -> None:
        """Put records, after no other record has the names any more.

        A record takes the place of the one with its key, and keeps its names besides
        its own.
        """
        for name in names:
            owner = self._owners.pop(name, None)
            if owner is not None:
                known = self._records[owner]
                left = [one for one in known["names"] if one != name]
                self._records[owner] = known | {"names": left}
        for text in records:
            self._put(json.loads(text))

    def _put(self, record: Record) -> None:
        key = record["id"]
        kept = self._records.get(key, {}).get("names") or []
        if kept or "names" in record:
            both = [*record.get("names", ()), *kept]
            record = record | {"names": sorted(set(both))}
        self._owners.update(dict.fromkeys(record.get("names", ()), key))
        self._records[key] = record

    def store(self, level: int) -> Content:
        """Store the file as it is now; return its content."""
        pieces = list(self._pieces())
        if len(pieces) == 1:
            whole, _ = put_object(self._storage, pieces[0], Kind.BULK, level)
            return Content(whole.digest, len(pieces[0]))
        known = self._stored_pieces()
        chunks = []
        offset = 0
        for piece in pieces:
            digest = known.get(piece)
            if digest is None:
                digest = put_object(self._storage, piece, Kind.PARTIAL, level)[0].digest
            chunks.append(Chunk(offset, len(piece), digest))
            offset += len(piece)
        return Content(None, offset, chunks=tuple(chunks))

    def _stored_pieces(self) -> dict[bytes, bytes]:
        """Return the digests of the chunks of the file as it was, by what they hold."""
        content = self._content
        if content is None or content.compression != ZLIB or content.algorithm:
            return {}
        return {
            self._data[chunk.offset : chunk.offset + chunk.size]: chunk.hash
            for chunk in content.chunks
        }

    def _pieces(self) -> Iterator[bytes]:
        lines: list[str] = []
        before = "[\n"
        for key, record in self._records.items():
            lines.append(before + json.dumps(record, separators=(",", ":")))
            before = ",\n"
            if not zlib.crc32(key.encode()) % _RECORDS_OF_A_CHUNK:
                yield "".join(lines).encode()
                lines.clear()
        lines.append("\n]\n" if self._records else "[]\n")
        yield "".join(lines).encode()
