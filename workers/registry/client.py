"""The registry as the rest of the core sees it: names in, verified bytes out."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Self

from workers.errors import PermanentError
from workers.reference import (
    DOCKER_HUB,
    InvalidReference,
    Reference,
    parse_digest,
)
from workers.registry.anonymous import withheld_blob
from workers.registry.auth.access import RegistryAccess
from workers.registry.blob import BlobStream, Patience
from workers.registry.digests import Verifier
from workers.registry.listing.docker_hub import HUB_HOST
from workers.registry.listing.pages import list_namespace, list_repositories, list_tags
from workers.registry.manifests import (
    ACCEPT,
    LARGEST_MANIFEST_BYTES,
    FetchedManifest,
    ManifestDescriptor,
    UnsupportedManifest,
    media_type_of,
    verified_manifest,
)
from workers.registry.sessions import Sessions, internal_places
from workers.registry.transport.addresses import AddressGuard, LookUp, look_up
from workers.registry.transport.answers import (
    AccessDenied,
    AnswerTooLarge,
    ImageNotFound,
    StorageRefused,
    content_length,
)
from workers.registry.transport.proxies import Proxies
from workers.registry.transport.session import RegistrySession, Request
from workers.registry.transport.transport import Answer, Timeouts
from workers.registry.writing.delete import delete
from workers.registry.writing.push import push

_OK = 200
_PARTIAL = 206
_RANGE_NOT_SATISFIABLE = 416
# What registries and proxies say that only know GET.
_HEAD_REFUSED = frozenset({400, 405, 501})


class RegistryClient:
    """Reads from registries and writes to them; safe to use from several threads.

    A ``with`` block closes its connections.
    """

    def __init__(
        self,
        accesses: Mapping[str, RegistryAccess],
        *,
        internal_hosts: frozenset[str],
        timeouts: Timeouts | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
        look_up: LookUp = look_up,
        proxies: Proxies | None = None,
    ) -> None:
        """Make a client; nothing is connected yet.

        Args:
            accesses: by canonical host. A registry that is not among them is spoken to
                over TLS and anonymously.
            internal_hosts: host[:port] of what may be at private addresses; without a
                port, those of http and https.
            timeouts: for every connection.
            patience: with blobs whose connection breaks.
            sleep: waits before a blob's connection is made anew, and for tokens.
            look_up: resolves names.
            proxies: of the environment, for registries that have none of their own.
        """
        self._timeouts = timeouts or Timeouts()
        self._patience = patience
        self._sleep = sleep
        guard = AddressGuard(internal_places(accesses, internal_hosts), look_up=look_up)
        self._sessions = Sessions(
            accesses, guard, self._timeouts, sleep, proxies or Proxies()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._sessions.close()

    def resolve(self, reference: Reference) -> ManifestDescriptor:
        """Return what ``reference`` means now: a HEAD, which costs no rate limit.

        Where the answer does not say enough, the manifest is fetched.

        Raises:
            RegistryUnavailable: nobody answers, or asks us to come back.
            ImageNotFound: there is no such image, or not yet.
            AccessDenied: the registry refuses us.
            UnsupportedManifest: it is no image that we read.
            DigestMismatch: a manifest that had to be fetched is another.
            PermanentError: what else ``RegistrySession.send`` names.
        """
        return self._resolve(self._sessions.session(reference.registry), reference)

    def manifest(
        self,
        reference: Reference,
        digest: str | None = None,
        *,
        size: int | None = None,
    ) -> FetchedManifest:
        """Return a manifest, verified on its raw bytes.

        Args:
            reference: the image; its digest counts before its tag.
            digest: another manifest of the same repository, a child of an index.
            size: what a descriptor promised.

        Raises:
            WorkerError: as ``resolve``.
        """
        session = self._sessions.session(reference.registry)
        return self._manifest(session, reference, digest, size)

    @contextlib.contextmanager
    def blob(
        self, reference: Reference, digest: str, size: int
    ) -> Iterator[BlobStream]:
        """Open a blob of the repository of ``reference``.

        A block that is left without an exception has seen the whole blob verified: what
        it did not read is then read for it.

        Args:
            reference: its tag and digest do not matter.
            digest: of the blob.
            size: bytes, as its descriptor promises.

        Raises:
            DigestMismatch: here or from ``read``: it is another blob.
            WorkerError: as ``resolve``, here or from ``read``.
        """
        session = self._sessions.session(reference.registry)
        wanted = f"blob {digest} of {reference.name}"
        path = f"/v2/{reference.repository}/blobs/{parse_digest(digest)}"

        def open_at(offset: int) -> Answer:
            if not offset:
                request = Request("GET", path, reference.repository, wanted, {})
                return session.send(request, accept={_OK})
            headers = {"Range": f"bytes={offset}-"}
            request = Request("GET", path, reference.repository, wanted, headers)
            accept = {_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE}
            return session.send(request, accept=accept)

        with BlobStream(
            open_at,
            Verifier(wanted, digest, size),
            stall_seconds=self._timeouts.stall_seconds,
            patience=self._patience,
            sleep=self._sleep,
        ) as stream:
            yield stream
            stream.drain()

    def tags(self, reference: Reference) -> Iterator[str]:
        """Yield the tags of the repository of ``reference``, page by page.

        The list is complete when the iterator ends, and not when it raises.

        Raises:
            WorkerError: as ``resolve``.
        """
        return list_tags(self._sessions.session(reference.registry), reference)

    def repositories(self, registry: str, namespace: str | None) -> Iterator[str]:
        """Yield the names of the repositories that a registry shows us.

        Many registries show them to nobody, or to their administrators only. As to
        completeness, as ``tags``.

        Args:
            registry: canonical host.
            namespace: Docker Hub lists those of one namespace, and needs its name; of
                other registries all are listed.

        Raises:
            WorkerError: as ``resolve``.
        """
        if registry != DOCKER_HUB:
            return list_repositories(self._sessions.session(registry), registry)
        if namespace is None:
            raise PermanentError(f"{DOCKER_HUB} lists one namespace at a time: name it")
        return list_namespace(self._sessions.session(HUB_HOST), namespace)

    def push(
        self,
        reference: Reference,
        blobs: Sequence[bytes],
        manifest: bytes,
        media_type: str,
    ) -> None:
        """Write a small image under a tag, replacing what the tag means.

        Args:
            reference: with a tag.
            blobs: config and layers.
            manifest: that names them.
            media_type: of the manifest.

        Raises:
            WorkerError: as ``resolve``; nothing then has changed what the tag means.
        """
        session = self._sessions.session(reference.registry)
        push(session, reference, blobs, manifest, media_type)

    def delete(self, reference: Reference, digest: str) -> None:
        """Take a tag away, if it still means a manifest; no other tag goes with it.

        Success means that it is gone, not that it was there.

        Args:
            reference: with a tag.
            digest: of the manifest that the caller looked at.

        Raises:
            DeletionRefused: the registry cannot, or only together with other tags.
            AccessDenied: it does not let us.
            WorkerError: as ``resolve``.
        """
        session = self._sessions.session(reference.registry)
        delete(session, reference, digest, resolve=self.resolve, tags=self.tags)

    def is_public(self, reference: Reference) -> bool:
        """Tell whether somebody without credentials could pull ``reference`` now.

        Raises:
            WorkerError: the registry does not say; as ``resolve``.
        """
        return self._may_resolve(self._sessions.nobody(reference.registry), reference)

    def withheld(
        self, reference: Reference, manifests: Iterable[str], blobs: Iterable[str]
    ) -> str | None:
        """Return the digest of what only credentials can read of an image, if any is.

        Args:
            reference: with a digest; its own manifest is asked for first.
            manifests: digests of more manifests, those of an index.
            blobs: digests of its content.

        Raises:
            WorkerError: the registry does not say; as ``resolve``.
        """
        nobody = self._sessions.nobody(reference.registry)
        if not self._may_resolve(nobody, reference):
            return reference.digest
        if not self._sessions.has_credentials(reference.registry):
            return None
        for digest in dict.fromkeys(manifests):
            child = replace(reference, tag=None, digest=digest)
            if digest != reference.digest and not self._may_resolve(nobody, child):
                return digest
        return withheld_blob(nobody, reference, blobs)

    def _may_resolve(self, session: RegistrySession, reference: Reference) -> bool:
        try:
            self._resolve(session, reference)
        except (AccessDenied, ImageNotFound):
            return False
        return True

    def _resolve(
        self, session: RegistrySession, reference: Reference
    ) -> ManifestDescriptor:
        wanted = str(reference)
        request = _manifest_request("HEAD", reference, reference.digest)
        headers: Mapping[str, str] = {}
        # A storage may take what a registry signed for one method only.
        with (
            contextlib.suppress(StorageRefused),
            session.send(request, accept={_OK, *_HEAD_REFUSED}) as answer,
        ):
            headers = answer.headers if answer.status == _OK else {}
        media_type = media_type_of(headers.get("Content-Type"), wanted)
        digest = _claimed_digest(headers)
        size = content_length(headers)
        if (
            media_type is None
            or digest is None
            or size is None
            or reference.digest not in {None, digest}
        ):
            fetched = self._manifest(session, reference, None, None)
            return ManifestDescriptor(
                fetched.media_type, fetched.digest, len(fetched.raw)
            )
        return ManifestDescriptor(media_type, digest, size)

    def _manifest(
        self,
        session: RegistrySession,
        reference: Reference,
        digest: str | None,
        size: int | None,
    ) -> FetchedManifest:
        digest = digest or reference.digest
        request = _manifest_request("GET", reference, digest)
        with session.send(request, accept={_OK}) as answer:
            try:
                body = answer.body(LARGEST_MANIFEST_BYTES, request.wanted)
            except AnswerTooLarge as error:  # so is what was pushed
                raise UnsupportedManifest(str(error)) from error
            return verified_manifest(
                body,
                answer.headers.get("Content-Type"),
                subject=request.wanted,
                digest=digest or _claimed_digest(answer.headers),
                size=size,
            )


def _manifest_request(method: str, reference: Reference, digest: str | None) -> Request:
    which = reference.tag if digest is None else parse_digest(digest)
    if which is None:
        raise PermanentError(f"{reference} has neither tag nor digest: give one")
    wanted = str(reference)
    if digest not in {None, reference.digest}:
        wanted = f"{reference.name}@{digest}"
    path = f"/v2/{reference.repository}/manifests/{which}"
    return Request(method, path, reference.repository, wanted, {"Accept": ACCEPT})


def _claimed_digest(headers: Mapping[str, str]) -> str | None:
    """Return the digest that the registry claims, if it is one."""
    try:
        return parse_digest(headers.get("Docker-Content-Digest", ""))
    except InvalidReference:
        return None
