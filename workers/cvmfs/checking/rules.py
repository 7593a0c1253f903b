"""What must hold for every row of a catalog by itself, as a list.

Each rule is an SQL condition that is true for a row that breaks it, and what to say
then; names in braces are columns of the row. All rules are asked in one pass of SQLite
over the table, which costs a tenth of asking them in Python. A condition that comes out
as NULL does not hold.

Source: cvmfs/swissknife_check.cc, ``CommandCheck::Find``; cvmfs-format.md sections 3.3,
3.4 and 3.8.
"""

from typing import NamedTuple

from workers.cvmfs.catalog.schema import COLUMNS


class RowRule(NamedTuple):
    """A rule: ``broken`` in SQL, ``what`` as a format of the row's columns."""

    broken: str
    what: str


_DIRECTORY = "mode & 61440 = 16384"
_REGULAR = "mode & 61440 = 32768"
_SYMLINK = "mode & 61440 = 40960"
_PIPE = "mode & 61440 IN (4096, 49152)"
_DEVICE = "mode & 61440 IN (8192, 24576)"
_LINKS = "hardlinks & 4294967295"
_IS_ROOT = "md5path_1 = :first AND md5path_2 = :second"
_MARKER = "name = '.cvmfscatalog'"

_INTEGERS = [
    name for name in COLUMNS if name not in {"name", "symlink", "hash", "xattr"}
]
TYPE_RULES = (
    *(
        RowRule(f"typeof({name}) <> 'integer'", f"column {name} holds {{{name}!r}}")
        for name in _INTEGERS
        if name != "mtimens"
    ),
    RowRule("typeof(name) <> 'text'", "column name holds {name!r}"),
    RowRule("typeof(symlink) <> 'text'", "column symlink holds {symlink!r}"),
    RowRule(
        "hash IS NOT NULL AND (typeof(hash) <> 'blob' OR length(hash) <> 20)",
        "column hash holds {hash!r}",
    ),
    RowRule(
        "mtimens IS NOT NULL AND (typeof(mtimens) <> 'integer'"
        " OR mtimens NOT BETWEEN 0 AND 999999999)",
        "column mtimens holds {mtimens!r}",
    ),
    RowRule(
        "xattr IS NOT NULL AND typeof(xattr) <> 'blob'", "column xattr holds {xattr!r}"
    ),
    RowRule("size < 0", "column size holds {size}"),
    RowRule(
        "typeof(uid) = 'integer' AND uid NOT BETWEEN 0 AND 4294967295",
        "column uid holds {uid}",
    ),
    RowRule(
        "typeof(gid) = 'integer' AND gid NOT BETWEEN 0 AND 4294967295",
        "column gid holds {gid}",
    ),
)
"""SQLite lets any value into any column. Of a row that breaks one of these, nothing
else is asked."""

ENTRY_RULES = (
    RowRule(
        f"NOT ({_DIRECTORY} OR {_REGULAR} OR {_SYMLINK} OR {_PIPE} OR {_DEVICE})"
        " OR mode NOT BETWEEN 0 AND 65535",
        "mode {mode:o} is no known type of file",
    ),
    RowRule(
        f"flags & 29 <> CASE WHEN {_DIRECTORY} THEN 1 WHEN {_REGULAR} THEN 4"
        f" WHEN {_SYMLINK} THEN 12 WHEN {_PIPE} OR {_DEVICE} THEN 20"
        " ELSE flags & 29 END",
        "flags {flags:#x} say another type of file than mode {mode:o}",
    ),
    RowRule(
        f"flags & (2 | 32 | 16384) AND NOT {_DIRECTORY}",
        "flags {flags:#x} of a mountpoint on something else than a directory",
    ),
    RowRule("flags & 2 AND flags & 16384", "is a nested and a bind mountpoint at once"),
    RowRule(
        f"flags & 32 AND NOT ({_IS_ROOT})",
        "is marked as root of a nested catalog, inside of a catalog",
    ),
    RowRule(f"flags & 64 AND NOT {_REGULAR}", "is chunked but no regular file"),
    RowRule(f"flags & 128 AND NOT {_REGULAR}", "is external but no regular file"),
    RowRule(
        f"flags & 65536 AND NOT {_REGULAR}", "has direct I/O but is no regular file"
    ),
    RowRule(
        f"{_REGULAR} AND hash IS NULL AND NOT flags & 64",
        "is a regular file without content hash",
    ),
    RowRule(
        "(hash IS NOT NULL OR flags & 64) AND flags >> 8 & 7 > 2",
        "flags {flags:#x} say an unknown hash algorithm",
    ),
    RowRule(
        f"{_REGULAR} AND flags >> 11 & 7 > 1",
        "flags {flags:#x} say an unknown compression",
    ),
    RowRule(
        f"hash IS NOT NULL AND ({_DIRECTORY} OR {_SYMLINK} OR {_PIPE} OR {_DEVICE})",
        "has a content hash but is no regular file",
    ),
    RowRule(f"{_SYMLINK} AND symlink = ''", "is a symlink without target"),
    RowRule(
        f"symlink <> '' AND NOT {_SYMLINK}",
        "has the target {symlink!r} but is no symlink",
    ),
    RowRule(f"{_PIPE} AND size <> 0", "is a fifo or socket of size {size}"),
    RowRule(f"{_LINKS} = 0", "has link count 0"),
    RowRule(
        f"{_LINKS} > 1 AND hardlinks >> 32 = 0 AND NOT {_DIRECTORY}",
        "has several links but no hard link group",
    ),
    RowRule(
        f"hardlinks >> 32 <> 0 AND {_DIRECTORY}",
        "is a directory in a hard link group",
    ),
    RowRule(
        f"{_MARKER} AND NOT (parent_1 = :first AND parent_2 = :second AND :is_nested)",
        "is the marker of a nested catalog, but there is none",
    ),
    RowRule(
        f"{_MARKER} AND NOT {_REGULAR}",
        "is the marker of a nested catalog, but no regular file",
    ),
)

RULES = TYPE_RULES + ENTRY_RULES
TYPES_MASK = (1 << len(TYPE_RULES)) - 1

_SOUND_FILE = """
typeof(md5path_1)='integer' AND typeof(md5path_2)='integer'
AND typeof(parent_1)='integer' AND typeof(parent_2)='integer'
AND flags & ~16128 = 4 AND flags >> 8 & 7 < 3 AND flags >> 11 & 7 < 2
AND mode BETWEEN 32768 AND 36863 AND hardlinks = 1
AND typeof(hash) = 'blob' AND length(hash) = 20
AND typeof(size) = 'integer' AND size >= 0 AND typeof(mtime) = 'integer'
AND (mtimens IS NULL OR typeof(mtimens) = 'integer'
  AND mtimens BETWEEN 0 AND 999999999)
AND typeof(mode) = 'integer' AND typeof(flags) = 'integer'
AND typeof(uid) = 'integer' AND uid BETWEEN 0 AND 4294967295
AND typeof(gid) = 'integer' AND gid BETWEEN 0 AND 4294967295
AND xattr IS NULL AND typeof(symlink) = 'text' AND symlink = ''
AND typeof(name) = 'text' AND name <> '.cvmfscatalog'"""
"""True only for a regular file of one object that breaks no rule. Nine rows in ten are
such, and need not be put to all of them."""

_MASK = " | ".join(
    f"((({rule.broken}) IS TRUE) << {bit})" for bit, rule in enumerate(RULES)
)
BROKEN_RULES = f"CASE WHEN {_SOUND_FILE} THEN 0 ELSE {_MASK} END"
"""SQL for a number with a bit set for each broken rule. Its parameters are ``first``
and ``second``, the path key of the catalog's root, and ``is_nested``."""


def broken_rules(mask: int) -> list[RowRule]:
    """Return the rules that a number names; of wrong types only those."""
    mask &= TYPES_MASK if mask & TYPES_MASK else -1
    return [rule for bit, rule in enumerate(RULES) if mask >> bit & 1]
