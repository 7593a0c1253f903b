"""Lists that a registry gives page by page: of tags, and of repositories.

What is yielded is complete when the iterator ends, and not when it raises. A registry
that never comes to an end is not followed for ever.
"""

import time
from collections.abc import Iterator

from workers.reference import DOCKER_HUB, Reference
from workers.registry.listing.answers import (
    LARGEST_PAGE_BYTES,
    next_page,
    parse_repositories,
    parse_tags,
)
from workers.registry.listing.docker_hub import namespace_path, parse_namespace
from workers.registry.transport.answers import (
    RegistryProtocolError,
    RegistryUnavailable,
)
from workers.registry.transport.session import RegistrySession, Request

_OK, _BAD_REQUEST = 200, 400
_PAGE_NAMES = 1000
_MOST_PAGES = 10_000
_LISTING_SECONDS = 600.0


def list_tags(session: RegistrySession, reference: Reference) -> Iterator[str]:
    """Yield the tags of a repository; see ``RegistryClient.tags``."""
    wanted = f"tags of {reference.name}"
    path = f"/v2/{reference.repository}/tags/list"
    for page in _pages(session, path, reference.repository, wanted):
        yield from parse_tags(page, wanted)


def list_repositories(session: RegistrySession, registry: str) -> Iterator[str]:
    """Yield the repositories of a registry; see ``RegistryClient.repositories``."""
    wanted = f"repositories of {registry}"
    for page in _pages(session, "/v2/_catalog", "", wanted):
        yield from parse_repositories(page, wanted)


def list_namespace(session: RegistrySession, namespace: str) -> Iterator[str]:
    """Yield the repositories of a namespace of Docker Hub, with its name before them.

    Args:
        session: with the host that has the list, which is not the registry's.
        namespace: a user or an organisation.
    """
    wanted = f"repositories of {DOCKER_HUB}/{namespace}"
    for number in range(1, _MOST_PAGES + 1):
        path = namespace_path(namespace, number)
        request = Request("GET", path, "", wanted, {})
        with session.send(request, accept={_OK}) as answer:
            body = answer.body(LARGEST_PAGE_BYTES, wanted)
        names, is_more = parse_namespace(body, namespace, wanted)
        yield from names
        if not is_more:
            return
    raise RegistryProtocolError(f"{wanted}: more than {_MOST_PAGES} pages")


def _pages(
    session: RegistrySession, path: str, repository: str, wanted: str
) -> Iterator[bytes]:
    most = _PAGE_NAMES
    path = f"{path}?n={most}"
    seen: set[str] = set()
    until = time.monotonic() + _LISTING_SECONDS
    while path not in seen and len(seen) < _MOST_PAGES:
        if time.monotonic() > until:
            raise RegistryUnavailable(
                f"{wanted}: not listed within {_LISTING_SECONDS:.0f} s"
            )
        request = Request("GET", path, repository, wanted, {})
        # Once there is nothing to ask less of, 400 is the answer.
        accept = {_OK, _BAD_REQUEST} if most and path.endswith(f"n={most}") else {_OK}
        with session.send(request, accept=accept) as answer:
            if answer.status == _BAD_REQUEST:
                # More than one page of it may have; its error does not say how much.
                # Source: distribution, ``catalog.maxentries`` and ``tags.maxtags``.
                path = path.removesuffix(f"n={most}")
                most //= 2
                path = f"{path}n={most}" if most else path.rstrip("?&")
                continue
            body = answer.body(LARGEST_PAGE_BYTES, wanted)
            link = answer.headers.get("Link")
        seen.add(path)
        yield body
        following = next_page(link, path)
        if following is None:
            return
        path = following
    raise RegistryProtocolError(
        f"{wanted}: the list repeats itself, or has more than {_MOST_PAGES} pages"
    )
