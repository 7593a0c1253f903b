"""Lists of tags and of repositories, page by page.

Pure. A list decides what is watched and what may be removed, so it is complete or it is
an error. Only what no reference can name is passed over, as none of ours has such a
name, and that is said.

Source: distribution-spec "Listing Tags"; Docker Registry HTTP API V2, "Catalog", which
has the same form; RFC 8288 3 (Link).
"""

import json
import logging
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from workers.reference import InvalidReference, parse_repository, parse_tag
from workers.registry.transport.answers import RegistryProtocolError, sanitised

log = logging.getLogger(__name__)

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
    return nameable(names, parse, subject)


def nameable(
    names: Sequence[str], parse: Callable[[str], str], subject: str
) -> list[str]:
    """Return those of some names that can be a reference's, and say what others are.

    Args:
        names: as a registry gives them.
        parse: raises InvalidReference.
        subject: of the message.
    """
    named: list[str] = []
    unnameable: list[str] = []
    for name in names:
        try:
            named.append(parse(name))
        except InvalidReference:
            unnameable.append(sanitised(name))
    if unnameable:
        log.warning(
            "%s: %d of the list cannot be named and are passed over, such as %r",
            *(subject, len(unnameable), unnameable[0]),
        )
    return named


def next_page(link: str | None, path: str) -> str | None:
    """Return the path and query of the page after ``path``; None: it was the last.

    Of the link the query counts, on the path that was asked. Behind a proxy, and in
    front of several repositories of a product, a registry believes to be elsewhere
    (Nexus, Artifactory); and no link leads to the list of another repository.
    """
    for target, parameters in _LINK.findall(link or ""):
        if not _NEXT.search(parameters):
            continue
        try:
            query = urlsplit(target).query
        except ValueError:
            query = ""
        asked = urlsplit(path).path
        return f"{asked}?{query}" if query else asked
    return None
