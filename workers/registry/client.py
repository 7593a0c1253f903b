"""The registry as the rest of the core sees it: names in, verified bytes out."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from workers.reference import Reference
from workers.registry.access import RegistryAccess
from workers.registry.blob import BlobStream
from workers.registry.manifests import Descriptor, FetchedManifest


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a registry may keep us waiting.

    Attributes:
        connect_seconds: for a connection, name resolution excluded.
        stall_seconds: without (nearly) a byte, after which a connection is given up.
        answer_seconds: for a whole answer that is not a blob.
    """

    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    answer_seconds: float = 60.0


class RegistryClient:
    """Reads from registries; safe to use from several threads at once."""

    def __init__(
        self,
        accesses: Mapping[str, RegistryAccess],
        *,
        internal_hosts: frozenset[str],
        timeouts: Timeouts | None = None,
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError

    def resolve(self, reference: Reference) -> Descriptor:
        """Ask what ``reference`` means now, without fetching it."""
        raise NotImplementedError

    def manifest(
        self, reference: Reference, digest: str | None = None
    ) -> FetchedManifest:
        """Fetch the manifest of ``reference``, or the one with ``digest`` beside it."""
        raise NotImplementedError

    def blob(
        self, reference: Reference, digest: str, size: int
    ) -> AbstractContextManager[BlobStream]:
        """Open a blob of the repository of ``reference``."""
        raise NotImplementedError

    def tags(self, reference: Reference) -> Iterator[str]:
        """List the tags of the repository of ``reference``."""
        raise NotImplementedError

    def is_public(self, reference: Reference) -> bool:
        """Tell whether somebody without credentials could pull ``reference``."""
        raise NotImplementedError
