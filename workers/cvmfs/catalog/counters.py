"""The 24 numbers every catalog keeps about itself and what hangs below it.

``self`` counts the rows of one catalog, ``subtree`` all catalogs nested in it, at any
depth. A catalog with one number missing does not load in any client.

Source: cvmfs/catalog_counters.h; cvmfs-format.md section 3.7.
"""

import operator
from collections.abc import Mapping
from typing import NamedTuple

from workers.cvmfs.errors import Malformed

_SCOPES = ("self", "subtree")


class Counters(NamedTuple):
    """Twelve numbers about a set of rows; names as in the ``statistics`` table.

    Attributes:
        regular: regular files, chunked ones among them.
        symlink: symbolic links.
        special: fifos, sockets, character and block devices.
        dir: directory rows. The mountpoint of a nested catalog is one in the outer
            and one more in the inner catalog.
        nested: rows of ``nested_catalogs``.
        chunked: regular files in several objects.
        chunks: rows of ``chunks``.
        file_size: bytes in regular files, uncompressed.
        chunked_size: bytes in chunked files, uncompressed.
        xattr: rows with extended attributes.
        external: regular files whose content is not in the repository.
        external_file_size: their bytes.
    """

    regular: int = 0
    symlink: int = 0
    special: int = 0
    dir: int = 0
    nested: int = 0
    chunked: int = 0
    chunks: int = 0
    file_size: int = 0
    chunked_size: int = 0
    xattr: int = 0
    external: int = 0
    external_file_size: int = 0

    def plus(self, other: "Counters") -> "Counters":
        """Return the sums; ``+`` would join the tuples."""
        return Counters(*map(operator.add, self, other))

    def minus(self, other: "Counters") -> "Counters":
        """Return the differences."""
        return Counters(*map(operator.sub, self, other))


class Statistics(NamedTuple):
    """The ``statistics`` table of one catalog."""

    own: Counters = Counters()
    subtree: Counters = Counters()

    @property
    def total(self) -> Counters:
        """What the catalog adds to the ``subtree`` of the one that holds it."""
        return self.own.plus(self.subtree)

    def changes(self, new: "Statistics") -> list[tuple[int, str]]:
        """Return what differs in newer statistics: the new value and its name."""
        return [
            (after, f"{scope}_{name}")
            for scope, old, now in zip(_SCOPES, self, new, strict=True)
            if old != now
            for name, before, after in zip(Counters._fields, old, now, strict=True)
            if before != after
        ]

    def rows(self) -> list[tuple[str, int]]:
        """Return the 24 rows of the table."""
        return [
            (f"{scope}_{name}", value)
            for scope, counters in zip(_SCOPES, self, strict=True)
            for name, value in zip(Counters._fields, counters, strict=True)
        ]

    @classmethod
    def of_rows(cls, rows: Mapping[str, int]) -> "Statistics":
        """Read the table.

        Raises:
            Malformed: one of the 24 is missing.
        """
        try:
            return cls(
                Counters(*(rows[f"self_{name}"] for name in Counters._fields)),
                Counters(*(rows[f"subtree_{name}"] for name in Counters._fields)),
            )
        except KeyError as error:
            raise Malformed(f"catalog has no counter {error.args[0]}") from error
