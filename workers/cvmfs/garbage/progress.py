"""What a garbage collection finds, plans and does, as values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from workers.cvmfs.values.hash import ContentHash

EXPIRED, LEAKED = "of revisions given up", "of no revision (aborted publishes)"


class Stage(StrEnum):
    """What a collection is at."""

    MARKING = "reading the revisions that are kept"
    LISTING = "listing the storage"
    PLANNED = "planned"
    DELETING = "deleting"


class Pile(NamedTuple):
    """So many objects, of so many stored bytes."""

    objects: int = 0
    bytes: int = 0

    def plus(self, size: int, objects: int = 1) -> "Pile":
        """Return it with more objects of some size together."""
        return Pile(self.objects + objects, self.bytes + size)


NOTHING = Pile()


class GivenUp(NamedTuple):
    """A revision that goes.

    Attributes:
        root_catalog: its hash.
        revision: its number; 0 if the catalog is gone or unreadable already.
        timestamp: when it was made, unix time.
    """

    root_catalog: ContentHash
    revision: int = 0
    timestamp: int = 0


@dataclass(slots=True)
class Collection:
    """What a collection found, and did.

    Attributes:
        stage: what it is at.
        catalogs_read: so far.
        revisions_kept: root catalogs whose revisions stay.
        revisions_given_up: those that are taken off the reflog, newest first.
        kept: objects that a kept revision names.
        young: objects that none names, but within their grace time.
        garbage: what is to be deleted, by what it is and why.
        leftovers: temporary files that a writer left behind long ago, to be deleted.
        waiting: temporary files of others, too young to be surely nobody's.
        deleted: what was deleted of all that.
        foreign: files under ``data/`` that are no objects; left alone.
    """

    stage: Stage = Stage.MARKING
    catalogs_read: int = 0
    revisions_kept: int = 0
    revisions_given_up: tuple[GivenUp, ...] = ()
    kept: Pile = NOTHING
    young: Pile = NOTHING
    garbage: dict[tuple[str, str], Pile] = field(default_factory=dict)
    leftovers: Pile = NOTHING
    waiting: Pile = NOTHING
    deleted: Pile = NOTHING
    foreign: int = 0

    @property
    def planned(self) -> Pile:
        """All that is to be deleted."""
        piles = (*self.garbage.values(), self.leftovers)
        return Pile(sum(pile.objects for pile in piles), sum(p.bytes for p in piles))


Tell = Callable[[Collection], None]
