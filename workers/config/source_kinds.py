"""Kinds of sources: what the configuration has to know of each.

Who reads a kind's notifications stands in ``webhook/senders``, one file a kind, which
the core may not know; a test holds the two tables to each other.
"""

from collections.abc import Mapping
from typing import NamedTuple

from workers.reference import DOCKER_HUB


class SourceKind(NamedTuple):
    """A kind of source.

    Attributes:
        registry: which it always is of; None: the configuration says it.
        has_secret_in_path: so that the secret must be able to stand in a URL.
    """

    registry: str | None = None
    has_secret_in_path: bool = False


SOURCE_KINDS: Mapping[str, SourceKind] = {
    "dockerhub": SourceKind(DOCKER_HUB, has_secret_in_path=True),
    "distribution": SourceKind(),
    "gitlab": SourceKind(),
}
