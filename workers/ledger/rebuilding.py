"""The ledger made true again by what a repository holds.

What is live is said by the repository in the end: after a rollback, after the records
were lost, after another tool was at work there, it says so to the ledger. Work that is
queued or under way is left as it is; so is what the ledger knows of a later revision.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import redis

from workers.ledger import lookups
from workers.ledger.odd import PREFIX, is_canonical, is_name, is_wrong_type
from workers.ledger.reading import as_fields, as_text, read_image
from workers.ledger.records import LiveImage
from workers.ledger.scripts import Scripts
from workers.ledger.unavailable import as_ledger_error
from workers.ledger.writing import record_to_json

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Published:
    """An image as a repository has it.

    Attributes:
        digest: which the registry had for it then.
        live: what else is said of it.
        published: when, unix time.
        restored_instead_of: what the registry had when ``digest`` was restored in its
            place.
    """

    digest: str
    live: LiveImage
    published: float
    restored_instead_of: str | None = None


class Change(StrEnum):
    """What became of a reference."""

    LIVE = "live"
    GONE = "gone"
    OTHER = "other"
    SAME = "same"
    NEWER = "newer"
    ELSEWHERE = "elsewhere"


class Rebuilder:
    """Writes what repositories hold into the ledger.

    Args:
        connection: to the Redis that holds the ledger.
        clock: None takes Redis's own.

    Raises:
        LedgerUnavailable: (``rebuild``) Redis does not answer as it should.
    """

    def __init__(
        self, connection: redis.Redis, *, clock: Callable[[], float] | None = None
    ) -> None:
        self._redis = connection
        self._scripts = Scripts(connection)
        self._clock = clock

    def rebuild(
        self,
        fqrn: str,
        revision: int,
        images: Mapping[str, Published],
        *,
        is_final: bool = False,
    ) -> Iterator[tuple[str, Change]]:
        """Settle what one repository holds, and what it holds no more.

        Doing it again changes nothing.

        Args:
            fqrn: the repository.
            revision: of it, which has these images and no others.
            images: by reference.
            is_final: whether it counts for what the ledger knows of later revisions,
                too.

        Yields:
            Each reference that is or was live there, and what became of it.
        """
        for reference, image in images.items():
            yield reference, self._settle(fqrn, revision, reference, image, is_final)
        with as_ledger_error():
            gone = [name for name in self._live_in(fqrn) if name not in images]
        for reference in gone:
            yield reference, self._settle(fqrn, revision, reference, None, is_final)

    def mend(self) -> list[str]:
        """Take out of the records what cannot be read; return their references.

        What an image lacks then, a look at its registry or at the repository tells. One
        that no listing has any more is listed again.
        """
        prefix = f"{PREFIX}image:"
        with as_ledger_error():
            listed = set(lookups.names(self._redis))
            keys = list(self._redis.scan_iter(f"{prefix}*", count=_AT_ONCE))
            names = [
                name
                for name in (as_text(key).removeprefix(prefix) for key in keys)
                if is_name(name)
            ]
            return sorted(
                name
                for begin in range(0, len(names), _AT_ONCE)
                for name in self._mended(names[begin : begin + _AT_ONCE], listed)
            )

    def _mended(self, names: Sequence[str], listed: Container[str]) -> Iterator[str]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hgetall(f"{PREFIX}image:{name}")
            replies = pipeline.execute(raise_on_error=False)
        for name, reply in zip(names, replies, strict=True):
            raw = {} if is_wrong_type(reply) else lookups.known(reply)
            odd = read_image(as_fields(raw)).odd
            if odd or name not in listed:
                values = {as_text(field): value for field, value in raw.items()}
                pairs = [
                    part
                    for field in odd
                    if field in values
                    for part in (field, values[field])
                ]
                canonical = "1" if is_canonical(name) else ""
                self._scripts.call("mend", self._now(), name, canonical, *pairs)
                yield name

    def _now(self) -> str | float:
        return "" if self._clock is None else self._clock()

    def _live_in(self, fqrn: str) -> Iterator[str]:
        """Yield the references that the ledger takes for published in a repository."""
        names = [as_text(one) for one in self._redis.zrange(f"{PREFIX}images", 0, -1)]
        for begin in range(0, len(names), _AT_ONCE):
            for record in lookups.images(self._redis, names[begin : begin + _AT_ONCE]):
                if record.live_digest is not None and record.repository == fqrn:
                    yield record.reference

    def _settle(
        self,
        fqrn: str,
        revision: int,
        reference: str,
        image: Published | None,
        is_final: bool,  # noqa: FBT001 - handed on
    ) -> Change:
        known = "" if image is None else record_to_json(image)
        said = (reference, fqrn, revision, known)
        with as_ledger_error():
            final = "1" if is_final else ""
            reply = self._scripts.call("settle", self._now(), *said, final)
        return Change(as_text(reply))
