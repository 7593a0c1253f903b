"""A file that lists many things and grows with them: a JSON array of objects.

Each object is a record: its ``id`` is its key, and ``names``, if it has any, are its
alone. A commit changes some records of what is there at that moment, under the lock, so
that those who commit at the same time never lose each other's.

However long the list has become, a commit reads and writes little of it:

* The file is cut into chunks of 512 records. A record stays in its chunk, and a new one
  comes into the last. So what clients have to fetch again is the last chunk, and those
  where a record changed.
* Each record is a line, and what stands between two chunks belongs to the second; the
  last ends the array besides. So a chunk is changed without its neighbours.
* Which chunk has a record, or whose record has a name, is in an index beside the file,
  from its second chunk on; see ``record_index.py``.

A list without an index that is true of it, as others or older versions make it, is read
as a whole, and written anew by the next edit that changes something.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from workers.cvmfs.commit.record_index import RecordIndex
from workers.cvmfs.errors import InvalidChange
from workers.cvmfs.objects.objects import put_object, read_chunks, read_content
from workers.cvmfs.storage.storage import Storage
from workers.cvmfs.values.dirent import Chunk, Content
from workers.cvmfs.values.hash import Kind
from workers.cvmfs.values.paths import printable

_RECORDS_OF_A_CHUNK = 512
_BEGIN, _BETWEEN, _END = "[\n", ",\n", "\n]\n"

Record = dict[str, Any]


def index_path(path: bytes) -> bytes:
    """Return where the index of a list is."""
    folder, _, name = path.rpartition(b"/")
    return b"%s/.%s.index" % (folder, name)


class RecordFile:
    """The records of one file, to be changed.

    Args:
        storage: where contents are.
        path: names the file in messages.
        content: of the file; ``None`` if there is none yet.
        index: content of its index; ``None`` if there is none.
        level: of compression.

    Raises:
        InvalidChange: it is not such a file.
    """

    def __init__(
        self,
        storage: Storage,
        path: bytes,
        content: Content | None,
        index: Content | None,
        level: int,
    ) -> None:
        self._storage = storage
        self._content = content or Content(None, 0)
        self._level = level
        self._pieces: list[_RecordsPart] = []
        self._index = RecordIndex(storage, None)
        if content is None:
            return
        if index is not None and RecordIndex.is_true(index, content, level):
            self._pieces = [_RecordsPart(chunk) for chunk in content.chunks]
            self._index = RecordIndex(storage, index)
            return
        data = read_content(storage, content)
        try:
            self._take_over(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidChange(
                f"{printable(path)} is no list of records: remove it, and publish its"
                " images again"
            ) from error

    @property
    def is_changed(self) -> bool:
        """Whether the records are others than they were."""
        return any(piece.is_changed for piece in self._pieces)

    def expect(self, records: Iterable[str], names: Iterable[str]) -> None:
        """Read what some edits need, all at once.

        Without, each of them reads what it needs: two round trips in a bucket.
        """
        keys, owned = set(), set(map(_name, names))
        for record in map(json.loads, records):
            keys.add(_key(record["id"]))
            owned.update(map(_name, record.get("names") or ()))
        self._index.read(keys | owned)
        places = {text: self._index.get(text) for text in keys | owned}
        numbers = {number for number in places.values() if number is not None}
        if self._pieces and any(places[key] is None for key in keys):
            numbers.add(len(self._pieces) - 1)
        self._read(numbers)

    def edit(self, records: Sequence[str], names: Sequence[str]) -> None:
        """Put records, after no record has the names any more.

        A record takes the place of the one with its key, and keeps its names besides
        its own, which no other has any more either.
        """
        self.expect(records, names)
        for name in names:
            self._take_away(name)
        for text in records:
            self._put(json.loads(text))

    def store(self) -> tuple[Content, Content | None]:
        """Store the file as it is now.

        Returns:
            Its content, and that of its index if there has to be one.
        """
        if len(self._pieces) == 1:
            data = self._text(0).encode()
            whole, _ = put_object(self._storage, data, Kind.BULK, self._level)
            return Content(whole.digest, len(data)), None
        chunks: list[Chunk] = []
        offset = 0
        for number, piece in enumerate(self._pieces):
            chunk = piece.stored
            if chunk is None or piece.is_changed or self._is_last_no_more(number):
                data = self._text(number).encode()
                part, _ = put_object(self._storage, data, Kind.PARTIAL, self._level)
                chunk = Chunk(offset, len(data), part.digest)
            chunks.append(chunk._replace(offset=offset))
            offset += chunk.size
        content = Content(None, offset, chunks=tuple(chunks))
        return content, self._index.store(content, self._level)

    def _take_over(self, listed: Iterable[Record]) -> None:
        """Cut a whole list into pieces."""
        records = {record["id"]: record for record in listed}
        owners = {
            name: key
            for key, record in records.items()
            for name in record.get("names") or ()
        }
        for key, record in records.items():
            names = record.get("names") or []
            # Podman reads no list at all where two records have the same name.
            own = [name for name in names if owners[name] == key]
            number = self._append(record | {"names": own} if names else record)
            self._remember(key, own, number)
        for piece in self._pieces:
            piece.before = piece.lines.copy()

    def _put(self, record: Record) -> None:
        key, own = record["id"], record.get("names") or []
        for name in own:
            self._take_away(name)
        found = self._found(_key(key), key, lambda known: bool(known["id"] == key))
        kept = (found.record.get("names") if found is not None else None) or []
        if kept or "names" in record:
            record = record | {"names": sorted({*own, *kept})}
        self._remember(
            key, own, self._replace(found, record) if found else self._append(record)
        )

    def _take_away(self, name: str) -> None:
        found = self._found(
            _name(name), name, lambda known: name in (known.get("names") or ())
        )
        if found is not None:
            left = [one for one in found.record["names"] if one != name]
            self._replace(found, found.record | {"names": left})
            self._index.forget(_name(name))

    def _found(
        self, text: str, part: str, is_it: Callable[[Record], bool]
    ) -> "_Found | None":
        """Return the record that a text of the index leads to.

        Only lines with that part are parsed.
        """
        number = self._index.get(text)
        if number is not None:
            written = json.dumps(part)
            for at, line in enumerate(self._pieces[number].lines):
                if written in line and is_it(record := json.loads(line)):
                    return _Found(number, at, record)
        return None

    def _replace(self, found: "_Found", record: Record) -> int:
        self._pieces[found.number].lines[found.at] = _line(record)
        return found.number

    def _append(self, record: Record) -> int:
        if not self._pieces or len(self._pieces[-1].lines) >= _RECORDS_OF_A_CHUNK:
            self._pieces.append(_RecordsPart())
        self._pieces[-1].lines.append(_line(record))
        return len(self._pieces) - 1

    def _remember(self, key: str, names: Iterable[str], number: int) -> None:
        self._index.put(_key(key), number)
        for name in names:
            self._index.put(_name(name), number)

    def _read(self, numbers: Iterable[int]) -> None:
        """Read the lines of some pieces, if they are not known."""
        wanted = [self._pieces[number] for number in sorted(numbers)]
        unread = [piece for piece in wanted if not piece.lines]
        chunks = [piece.stored for piece in unread if piece.stored is not None]
        found = read_chunks(self._storage, self._content, chunks)
        for piece, data in zip(unread, found, strict=True):
            piece.lines = _lines(data)
            piece.before = piece.lines.copy()

    def _text(self, number: int) -> str:
        """Return a piece as it stands in the file."""
        begin = _BETWEEN if number else _BEGIN
        end = _END if number == len(self._pieces) - 1 else ""
        return begin + _BETWEEN.join(self._pieces[number].lines) + end

    def _is_last_no_more(self, number: int) -> bool:
        return number == len(self._content.chunks) - 1 < len(self._pieces) - 1


@dataclass(slots=True)
class _RecordsPart:
    """Some records in a row.

    Attributes:
        stored: how they are; ``None`` if they are not, or cut in another way.
        lines: each a record; none if they are not read yet.
        before: the lines as they were.
    """

    stored: Chunk | None = None
    lines: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        return self.lines != self.before


class _Found(NamedTuple):
    """A record, and where it is: in which line of which piece."""

    number: int
    at: int
    record: Record


def _lines(data: bytes) -> list[str]:
    text = data.decode().removeprefix(_BEGIN).removeprefix(_BETWEEN)
    return text.removesuffix(_END).split(_BETWEEN)


def _line(record: Record) -> str:
    # Always the same text for the same record, so that texts can be compared.
    return json.dumps(record, sort_keys=True, separators=(",", ":"))


# An id and a name may be the same text, but are two things for the index.


def _key(text: str) -> str:
    return "id " + text


def _name(text: str) -> str:
    return "name " + text
