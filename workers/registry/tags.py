"""Lists of tags, page by page.

Pure. A list decides what is watched and what may be removed, so it is complete or it is
an error: nothing unreadable is passed over.

Source: distribution-spec "Listing Tags"; RFC 8288 3 (Link).
"""

import json
import re
from urllib.parse import urljoin, urlsplit

from workers.reference import InvalidReference, parse_tag
from workers.registry.answers import RegistryProtocolError
from workers.registry.origin import InvalidUrl, Origin

# Registries that know no pages give all tags at once.
LARGEST_PAGE_BYTES = 16 * 1024 * 1024

_LINK = re.compile(r"<([^<>]*)>([^<>]*)")
_NEXT = re.compile(r";\s*rel\s*=\s*(?:next|\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\")(?:\W|$)")


def parse_page(body: bytes, subject: str) -> list[str]:
    """Return the tags of one page, in its order.

    Raises:
        RegistryProtocolError: it is no list of tags.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RegistryProtocolError(
            f"{subject}: the list of tags is not JSON"
        ) from error
    if not isinstance(document, dict) or "tags" not in document:
        raise RegistryProtocolError(f"{subject}: the answer is no list of tags")
    tags = document["tags"]
    if tags is None:  # how Distribution says that there are none
        return []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise RegistryProtocolError(f"{subject}: the answer is no list of tags")
    try:
        return [parse_tag(tag) for tag in tags]
    except InvalidReference as error:
        raise RegistryProtocolError(
            f"{subject}: in the list of tags, {error}"
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
                f"{subject}: the next page of tags is no web address"
            ) from error
        parts = urlsplit(following)
        if host != Origin.of(url).host or not parts.path.startswith("/v2/"):
            raise RegistryProtocolError(
                f"{subject}: the next page of tags is at {host}, outside the registry"
            )
        return f"{parts.path}?{parts.query}" if parts.query else parts.path
    return None
