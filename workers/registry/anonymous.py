"""What of an image nobody in particular may read.

A registry may let everybody read a manifest and keep the blobs for those who log in; so
each is asked for. HEAD costs no rate limit and no content. Where it is not answered, a
GET of one byte decides: some registries know no HEAD, and some redirect to storages
that take what they signed for one method only.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from workers.errors import WorkerError
from workers.reference import Reference, parse_digest
from workers.registry.transport.answers import AccessDenied, ImageNotFound
from workers.registry.transport.session import RegistrySession, Request

_AT_ONCE = 8
_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE = 200, 206, 416


def withheld_blob(
    session: RegistrySession, reference: Reference, digests: Iterable[str]
) -> str | None:
    """Return the first of some blobs that a session may not read; None: it may all.

    Args:
        session: without credentials.
        reference: of the repository in which they are asked for, whatever other
            repository they were mounted from.
        digests: of the blobs.

    Raises:
        WorkerError: the registry does not say.
    """
    asked = list(dict.fromkeys(digests))
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="anonymous") as executor:
        answers = executor.map(lambda each: _may_read(session, reference, each), asked)
        try:
            for digest, may_read in zip(asked, answers, strict=True):
                if not may_read:
                    return digest
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
    return None


def _may_read(session: RegistrySession, reference: Reference, digest: str) -> bool:
    wanted = f"blob {digest} of {reference.name}"
    path = f"/v2/{reference.repository}/blobs/{parse_digest(digest)}"
    request = Request("HEAD", path, reference.repository, wanted, {})
    try:
        session.send(request, accept={_OK}).close()
    except (AccessDenied, ImageNotFound):
        return False
    except WorkerError:
        headers = {"Range": "bytes=0-0"}
        request = Request("GET", path, reference.repository, wanted, headers)
        accept = {_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE}
        try:
            session.send(request, accept=accept).close()
        except (AccessDenied, ImageNotFound):
            return False
    return True
