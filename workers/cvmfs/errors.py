"""Everything that can go wrong with a repository.

::

    FormatError
    ├── Malformed            bytes that do not follow the format
    ├── Damaged              well formed, but not what the hash or size naming them says
    ├── HeadUnreadable       what a repository begins with is cut short or damaged
    ├── HeadWentBack         the head is older than one that was seen
    ├── NotFound             no such object, or no such path in the repository
    ├── NotTrusted           a signature, certificate or whitelist that does not hold
    │   └── WhitelistExpired    the whitelist held once; renew it
    ├── InvalidKeys          half a set of keys, or keys that do not belong together
    ├── InvalidPath          not a path inside a repository
    ├── InvalidTree          a tree that no catalog can hold
    ├── InvalidChange        a change that cannot be made where it was asked for
    ├── RepositoryExists     a repository is to be created where one is
    ├── RepositoryBusy       somebody else holds the lock; trying again later helps
    │   └── ContentCollected    garbage collection came between; preparing again helps
    └── StorageFailed        the storage refused: disk full, no permission, gone

The library raises nothing else. A message is one line with the offending value in it.
"""


class FormatError(Exception):
    """The root of all errors of this library."""


class Malformed(FormatError):
    """Bytes do not follow the format."""


class Damaged(FormatError):
    """Stored bytes disagree with the hash or the size by which they were asked for."""


class HeadUnreadable(FormatError):
    """Manifest, whitelist or certificate are cut short, or not what they should be.

    A file of the storage is to blame, and may be whole again later.
    """


class HeadWentBack(FormatError):
    """The head is not the one that was seen last, nor a later one."""


class NotFound(FormatError):
    """There is no such object in the storage, or no such path in the repository."""


class NotTrusted(FormatError):
    """A signature, certificate or whitelist does not hold."""


class WhitelistExpired(NotTrusted):
    """The whitelist is genuine but its time is over."""


class InvalidKeys(FormatError):
    """The set of keys is incomplete, unreadable or does not fit together."""


class InvalidPath(FormatError):
    """Not a path inside a repository, in its one true form."""


class InvalidTree(FormatError):
    """A tree contradicts itself, or holds what no catalog can express."""


class InvalidChange(FormatError):
    """A change cannot be made at its path."""


class RepositoryExists(FormatError):
    """A repository is to be created where there is one."""


class RepositoryBusy(FormatError):
    """The lock was not free within the time given."""


class ContentCollected(RepositoryBusy):
    """What a change needs was deleted after it was prepared, as nothing named it.

    A kind of being busy, since the same mends it: do it again, from the beginning.
    """


class StorageFailed(FormatError):
    """The storage refused a read or a write."""
