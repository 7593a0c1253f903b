"""Docker Hub's own list of what a namespace has; its registry interface has none.

Pure.

Source: https://docs.docker.com/reference/api/hub/latest/, "List repositories in a
namespace".
"""

import json

from workers.reference import parse_repository
from workers.registry.listing.answers import nameable
from workers.registry.transport.answers import RegistryProtocolError

HUB_HOST = "hub.docker.com"
_PAGE_SIZE = 100


def namespace_path(namespace: str, page: int) -> str:
    """Return the path and query of one page of a namespace's list, from 1."""
    name = parse_repository(namespace)
    return f"/v2/namespaces/{name}/repositories?page_size={_PAGE_SIZE}&page={page}"


def parse_namespace(
    body: bytes, namespace: str, subject: str
) -> tuple[list[str], bool]:
    """Return the repositories of one page, and whether there is another page.

    Raises:
        RegistryProtocolError: it is no such list.
    """
    try:
        document = json.loads(body)
        names = [
            "/".join((namespace, result["name"])) for result in document["results"]
        ]
        is_more = document["next"] is not None
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise RegistryProtocolError(
            f"{subject}: the answer is no list of repositories"
        ) from error
    return nameable(names, parse_repository, subject), is_more
