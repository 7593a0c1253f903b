"""What a catalog names: the objects of its files, and other catalogs.

Garbage collection keeps what is named, and a commit makes sure that it is there.
"""

from collections.abc import Iterable, Iterator

from workers.cvmfs.catalog.database import translated
from workers.cvmfs.catalog.reader import Catalog, NestedCatalog, load_catalog
from workers.cvmfs.errors import ContentCollected, Malformed, NotFound
from workers.cvmfs.storage.storage import ManyLookups, ObjectSource
from workers.cvmfs.values.dirent import Content
from workers.cvmfs.values.hash import DIGEST_SIZE, Algorithm, ContentHash, Kind
from workers.cvmfs.values.paths import printable

# External files are not in the storage. UNION makes the rows distinct and sorted.
_OBJECTS = """
SELECT hash, flags >> 8 & 7, 0 FROM catalog WHERE hash IS NOT NULL AND NOT flags & 128
UNION
SELECT chunks.hash, ifnull(flags, 0) >> 8 & 7, 1
FROM chunks LEFT JOIN catalog USING (md5path_1, md5path_2)
WHERE NOT ifnull(flags, 0) & 128"""
_UNSOUND = f"""
SELECT count(*) FROM (SELECT hash, flags >> 8 & 7 AS algorithm FROM catalog
  WHERE hash IS NOT NULL UNION ALL SELECT hash, 0 FROM chunks)
WHERE typeof(hash) <> 'blob' OR length(hash) <> {DIGEST_SIZE}
  OR algorithm > {max(Algorithm):d}"""  # noqa: S608 - numbers of ours


def named_objects(catalog: Catalog) -> Iterator[tuple[bytes, int, int]]:
    """Yield all objects that a catalog's files consist of, sorted, each once.

    Yields:
        Digest, algorithm, and 1 for a chunk of a file or 0 for a whole one.

    Raises:
        Malformed: a row names something that is no object.
    """
    what = f"catalog of {printable(catalog.mountpoint)}"
    with translated(what):
        if catalog.connection.execute(_UNSOUND).fetchone()[0]:
            raise Malformed(f"{what} has a hash that is none")
        yield from catalog.connection.execute(_OBJECTS)


def named_catalogs(catalog: Catalog) -> list[NestedCatalog]:
    """Return the catalogs that a catalog mounts.

    What a bind mountpoint mounts is a root catalog, made for the path of the root.
    """
    bound = [mount._replace(path=b"") for mount in catalog.bind_mountpoints()]
    return catalog.nested() + bound


def require_tree(source: ObjectSource, top: NestedCatalog) -> None:
    """Make sure that a catalog, and everything it names, is in the storage.

    Raises:
        ContentCollected: something is not.
    """
    pending = [top]
    while pending:
        reference = pending.pop()
        try:
            catalog = load_catalog(source, reference)
        except NotFound as error:
            raise ContentCollected(
                f"the catalog of {printable(reference.path)} is gone"
            ) from error
        paths = [
            ContentHash(digest, Algorithm(algorithm)).path(
                Kind.PARTIAL if is_chunk else Kind.BULK
            )
            for digest, algorithm, is_chunk in named_objects(catalog)
        ]
        _require(source, paths)
        pending += named_catalogs(catalog)
        catalog.close()


def require_content(source: ObjectSource, content: Content) -> None:
    """Make sure that the content of a file is in the storage.

    Raises:
        ContentCollected: it is not.
    """
    algorithm = Algorithm(content.algorithm)
    paths = [
        ContentHash(chunk.hash, algorithm).path(Kind.PARTIAL)
        for chunk in content.chunks
    ]
    if content.hash is not None:
        paths.append(ContentHash(content.hash, algorithm).path(Kind.BULK))
    _require(source, paths)


def _require(source: ObjectSource, paths: Iterable[str]) -> None:
    if isinstance(source, ManyLookups):
        missing = source.first_missing(list(paths))
    else:
        missing = next((path for path in paths if not source.exists(path)), None)
    if missing is not None:
        raise ContentCollected(f"{missing} is gone: prepare what needs it again")
