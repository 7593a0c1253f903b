"""Writing a small image to a registry: its blobs, then the manifest that names them.

For images of a few kilobytes; each blob goes in one request. A blob or manifest that is
there already is written again, which changes nothing.

Source: distribution-spec, "Pushing a blob monolithically", "Pushing Manifests".
"""

from collections.abc import Sequence
from urllib.parse import urlencode, urljoin, urlsplit

from workers.reference import Reference
from workers.registry.digests import digest_of
from workers.registry.transport.answers import RegistryProtocolError
from workers.registry.transport.origin import InvalidUrl, Origin
from workers.registry.transport.session import RegistrySession, Request

_CREATED = 201
_ACCEPTED = 202


def push(
    session: RegistrySession,
    reference: Reference,
    blobs: Sequence[bytes],
    manifest: bytes,
    media_type: str,
) -> None:
    """Write an image; see ``RegistryClient.push``."""
    for blob in blobs:
        _push_blob(session, reference, blob)
    path = f"/v2/{reference.repository}/manifests/{reference.tag}"
    headers = {"Content-Type": media_type}
    wanted = f"push of {reference}"
    request = Request("PUT", path, reference.repository, wanted, headers, manifest)
    session.send(request, accept={_CREATED}).close()


def _push_blob(session: RegistrySession, reference: Reference, blob: bytes) -> None:
    wanted = f"upload to {reference.name}"
    start = f"/v2/{reference.repository}/blobs/uploads/"
    request = Request("POST", start, reference.repository, wanted, {}, b"")
    with session.send(request, accept={_ACCEPTED}) as answer:
        location = answer.headers.get("Location", "")
    place = _place(f"{session.base_url}{start}", location, wanted)
    separator = "&" if "?" in place else "?"
    path = f"{place}{separator}{urlencode({'digest': digest_of(blob)})}"
    headers = {"Content-Type": "application/octet-stream"}
    request = Request("PUT", path, reference.repository, wanted, headers, blob)
    session.send(request, accept={_CREATED}).close()


def _place(url: str, location: str, wanted: str) -> str:
    """Return path and query of where a blob is to be put.

    Raises:
        RegistryProtocolError: it is at another host, or nowhere.
    """
    try:
        target = urljoin(url, location)
        # The host only: a registry behind a proxy may believe in another scheme.
        host = Origin.of(target).host
    except (ValueError, InvalidUrl) as error:
        raise RegistryProtocolError(
            f"{wanted}: the registry names no web address to put it"
        ) from error
    parts = urlsplit(target)
    if not location or host != Origin.of(url).host:
        raise RegistryProtocolError(
            f"{wanted}: the registry would have it put at {host}, which is not itself"
        )
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
