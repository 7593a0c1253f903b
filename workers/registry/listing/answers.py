"""Lists of tags and of repositories, page by page.

Pure. A list decides what is watched and what may be removed, so it is complete or it is
an error: nothing unreadable is passed over.

Source: distribution-spec "Listing Tags"; Docker Registry HTTP API V2, "Catalog", which
has the same form; RFC 8288 3 (Link).
"""

import json
import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from workers.reference import InvalidReference, parse_repository, parse_tag
from workers.registry.transport.answers import RegistryProtocolError
from workers.registry.transport.origin import InvalidUrl, Origin

# Registries that know no pages give all tags at once.
LARGEST_PAGE_BYTES = 16 * 1024 * 1024

_LINK = re.compile(r"<([^<>]*)>([^<>]*)")
_NEXT = re.compile(r";\s*rel\s*=\s*(?:next|\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\")(?:\W|$)")


def parse_tags(body: bytes, subject: str) -> list[str]:
    """Return the tags of one page, in its order.

    Raises:
        RegistryProtocolError: it is no list of tags.
    """
    return _parse_page(body, subject, "tags", parse_tag)


def parse_repositories(body: bytes, subject: str) -> list[str]:
    """Return the repositories of one page of a catalog, in its order.

    Raises:
        RegistryProtocolError: it is no list of repositories.
    """
    return _parse_page(body, subject, "repositories", parse_repository)


def _parse_page(
    body: bytes, subject: str, key: str, parse: Callable[[str], str]
) -> list[str]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RegistryProtocolError(
            f"{subject}: the list of {key} is not JSON"
        ) from error
    if not isinstance(document, dict) or key not in document:
        raise RegistryProtocolError(f"{subject}: the answer is no list of {key}")
    names = document[key]
    if names is None:  # how Distribution says that there are none
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RegistryProtocolError(f"{subject}: the answer is no list of {key}")
    try:
        return [parse(name) for name in names]
    except InvalidReference as error:
        raise RegistryProtocolError(
            f"{subject}: in the list of {key}, {error}"
        ) from error


def next_page(link: str | None, url: str, subject: str) -> str | None:
    """Return the path and query of the page after ``url``; None: it was the last.

    Raises:
        RegistryProtocolError: it is at another host, or no page of a registry.
    """
    for target, parameters in _LINK.findall(link or ""):
        if not _NEXT.search(parameters):
            continue
        try:
            following = urljoin(url, target)
            # The host only: a registry behind a proxy may believe in another scheme.
            host = Origin.of(following).host
        except (ValueError, InvalidUrl) as error:
            raise RegistryProtocolError(
                f"{subject}: the next page is no web address"
            ) from error
        parts = urlsplit(following)
        if host != Origin.of(url).host or not parts.path.startswith("/v2/"):
            raise RegistryProtocolError(
                f"{subject}: the next page is at {host}, outside the registry"
            )
        return f"{parts.path}?{parts.query}" if parts.query else parts.path
    return None
