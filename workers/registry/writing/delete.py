"""Taking tags and manifests out of a registry.

A tag is what is meant to go. Many registries, Distribution among them, only delete a
manifest, with all of its tags; that is asked for once there is no other tag.

Source: distribution-spec, "Deleting Tags", "Deleting Manifests".
"""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace

from workers.errors import PermanentError
from workers.reference import Reference, parse_digest
from workers.registry.manifests import ManifestDescriptor, UnsupportedManifest
from workers.registry.transport.answers import ImageNotFound, RegistryProtocolError
from workers.registry.transport.session import RegistrySession, Request

# The specification says 202.
_DELETED = frozenset({200, 202, 204})
# What registries say that delete no single tags: 400 and 405 by the specification (the
# former is Distribution's, which takes the tag for a bad digest), the others where
# nobody thought of it.
_NO_TAGS = frozenset({400, 404, 405, 501})


class DeletionRefused(PermanentError):
    """A registry that does not take an image out."""


def delete(
    session: RegistrySession,
    reference: Reference,
    digest: str,
    *,
    resolve: Callable[[Reference], ManifestDescriptor],
    tags: Callable[[Reference], Iterable[str]],
) -> None:
    """Take a tag away; see ``RegistryClient.delete``.

    Args:
        session: with the registry.
        reference: with a tag.
        digest: of the manifest that it has to mean.
        resolve: as ``RegistryClient.resolve``.
        tags: as ``RegistryClient.tags``.
    """
    try:
        # Just before: no registry deletes on a condition.
        if resolve(reference).digest != digest:
            return
    except ImageNotFound:
        return
    if _delete_tag(session, reference):
        return
    try:
        others = [tag for tag in tags(reference) if tag != reference.tag]
    except ImageNotFound as error:
        raise DeletionRefused(
            f"{reference}: its registry deletes no single tag, and lists none, of "
            "which others may be the same image"
        ) from error
    for tag in others:
        with contextlib.suppress(ImageNotFound, UnsupportedManifest):
            if resolve(replace(reference, tag=tag)).digest == digest:
                raise DeletionRefused(
                    f"{reference}: its registry deletes no single tag, and {tag} is "
                    "the same image"
                )
    _delete_manifest(session, reference, digest)


def _delete_tag(session: RegistrySession, reference: Reference) -> bool:
    """Delete a tag alone; tell whether the registry does such a thing."""
    request = _request(reference, reference.tag or "", str(reference))
    with session.send(request, accept=_DELETED | _NO_TAGS) as answer:
        return answer.status in _DELETED


def _delete_manifest(
    session: RegistrySession, reference: Reference, digest: str
) -> None:
    """Delete a manifest, and with it all of its tags."""
    wanted = f"{reference.name}@{digest}"
    request = _request(reference, parse_digest(digest), wanted)
    try:
        session.send(request, accept=_DELETED).close()
    except ImageNotFound:
        return
    except RegistryProtocolError as error:
        raise DeletionRefused(f"{error}; enable deletes there") from error


def _request(reference: Reference, which: str, wanted: str) -> Request:
    path = f"/v2/{reference.repository}/manifests/{which}"
    subject = f"deletion of {wanted}"
    return Request("DELETE", path, reference.repository, subject, {})
