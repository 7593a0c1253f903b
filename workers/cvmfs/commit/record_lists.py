"""The lists of records that one commit edits, however many batches edit them.

Each is opened when it is first edited, and stored once, before something else changes
where it is, or at the end.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from workers.cvmfs.commit.changes import EditRecords
from workers.cvmfs.commit.record_file import RecordFile, index_path
from workers.cvmfs.errors import FormatError, InvalidChange
from workers.cvmfs.storage.storage import Storage
from workers.cvmfs.values.dirent import Content, Dirent
from workers.cvmfs.values.paths import is_below, printable

_AT_ONCE = 4


class RecordLists:
    """Lists by their paths.

    Args:
        storage: where contents are.
        look_up: says what is at a path.
        level: of compression.
    """

    def __init__(
        self, storage: Storage, look_up: Callable[[bytes], Dirent | None], level: int
    ) -> None:
        self._storage = storage
        self._look_up = look_up
        self._level = level
        self._open: dict[bytes, RecordFile] = {}

    @property
    def is_changed(self) -> bool:
        """Whether any edit so far made a difference that is not stored yet."""
        return any(file.is_changed for file in self._open.values())

    def open_ahead(self, edits: Iterable[EditRecords]) -> None:
        """Read what some edits need, at once; what is wrong with it, they are told."""
        by_path: dict[bytes, list[EditRecords]] = {}
        for edit in edits:
            by_path.setdefault(edit.path, []).append(edit)
        with ThreadPoolExecutor(_AT_ONCE, "list") as executor:
            for path, some in by_path.items():
                with suppress(FormatError):
                    executor.submit(
                        self._opened(path).expect,
                        [record for edit in some for record in edit.records],
                        [name for edit in some for name in edit.names],
                    )

    def edit(self, change: EditRecords) -> None:
        """Make one change.

        Raises:
            InvalidChange: there is no list at its path, but something else.
        """
        self._opened(change.path).edit(change.records, change.names)

    def stored(self, above: bytes) -> Iterator[tuple[bytes, Content]]:
        """Store and close the lists at a path and below it.

        Yields:
            Files that have to be put: what changed, and its index.
        """
        for path in [path for path in self._open if is_below(path, above)]:
            file = self._open.pop(path)
            if file.is_changed:
                content, index = file.store()
                yield path, content
                if index is not None:
                    yield index_path(path), index

    def _opened(self, path: bytes) -> RecordFile:
        file = self._open.get(path)
        if file is None:
            dirent = self._look_up(path)
            content = None if dirent is None else dirent.content
            if dirent is not None and content is None:
                raise InvalidChange(f"{printable(path)} is not a file")
            beside = self._look_up(index_path(path))
            index = None if beside is None else beside.content
            file = RecordFile(self._storage, path, content, index, self._level)
            self._open[path] = file
        return file
