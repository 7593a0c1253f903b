"""``/cvmfs/<fqrn>/…``: repositories in local storage, as a stratum 0 web server does.

Beside them, in ``/cvmfs/info/v1/``, is what ``cvmfs_server`` keeps there for monitors
and operators of replicas: which repositories there are, and who runs them.

Only names that a repository has are looked up at all, so nothing beside it in the same
folder (unfinished uploads, locks) is served, and no name can lead out of it. What the
answers must look like: cvmfs-format 9.
"""

import errno
import json
import logging
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

from workers.config import Config, SiteConfig
from workers.wiring import native_repositories

log = logging.getLogger(__name__)

# Manifest, whitelist and their like change; 61 s because squid by default keeps nothing
# that is good for a minute or less (cvmfs_server_apache.sh).
MUTABLE_SECONDS = 61
CONTENT_SECONDS = 3 * 24 * 3600

_MUTABLE = re.compile(
    r"\.cvmfs(?:published|whitelist(?:\.pkcs7)?|reflog|_master_replica"
    r"|_last_snapshot|_is_snapshotting|_status\.json)",
    re.ASCII,
)
# 20 bytes of hash in hex, its algorithm if it is not SHA-1, and a letter for the kind
# of object (cvmfs-format 2).
_CONTENT = re.compile(
    r"data/[0-9a-f]{2}/[0-9a-f]{38}(?:-rmd160|-shake128)?[A-Z]?", re.ASCII
)
_BLOCK_BYTES = 65_536


def local_roots(config: Config) -> dict[str, Path]:
    """Return the folder of each repository whose storage is one on this machine."""
    roots = {}
    for repository in native_repositories(config):
        url = urlsplit(repository.storage)
        if url.scheme == "file" and url.netloc in {"", "localhost"}:
            roots[repository.fqrn] = Path(unquote(url.path))
    return roots


def blueprint(roots: Mapping[str, Path], site: SiteConfig) -> Blueprint:
    """Return the routes that serve the repositories under ``roots``, by name."""
    pages = Blueprint("cvmfs", __name__)

    @pages.get("/cvmfs/info/v1/repositories.json")
    def repositories() -> Response:
        served = [{"name": fqrn, "url": f"/cvmfs/{fqrn}"} for fqrn in sorted(roots)]
        return _info({"schema": 1, "repositories": served, "replicas": []})

    @pages.get("/cvmfs/info/v1/meta.json")
    def meta() -> Response:
        return _info(
            {
                "administrator": site.administrator,
                "email": site.email,
                "organisation": site.organisation,
                "custom": {},
            }
        )

    @pages.get("/cvmfs/<fqrn>/<path:name>")
    def file(fqrn: str, name: str) -> Response:
        root = roots.get(fqrn)
        is_mutable = _MUTABLE.fullmatch(name) is not None
        if root is None or not (is_mutable or _CONTENT.fullmatch(name)):
            return _not_found()
        try:
            stored = _open(root / name)
        except (FileNotFoundError, NotADirectoryError):
            return _not_found()
        except OSError:
            # Not a 404: a client would believe it, and a proxy would keep it.
            log.exception("cannot read repository=%s name=%s", fqrn, name)
            return Response("try again later\n", 503, content_type="text/plain")
        seconds = MUTABLE_SECONDS if is_mutable else CONTENT_SECONDS
        kind = "application/x-cvmfs" if is_mutable else "application/octet-stream"
        answer = _answer(stored, kind)
        answer.headers["Cache-Control"] = f"max-age={seconds}"
        answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return answer

    return pages


def _info(document: Mapping[str, object]) -> Response:
    answer = Response(
        json.dumps(document, indent=2) + "\n", content_type="application/json"
    )
    answer.headers["Cache-Control"] = f"max-age={MUTABLE_SECONDS}"
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return answer


def _open(path: Path) -> BinaryIO:
    """Open a regular file.

    No object of a repository is a link: one that is leads out of the storage, and was
    put there by somebody else. Opening without blocking lets nobody plant a pipe.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(path) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(path)
    return os.fdopen(handle, "rb")


class _Part:
    """A part of an open file, for servers that let the kernel send it.

    They send on from where the descriptor stands, as much as was announced; others
    read.
    """

    def __init__(self, stored: BinaryIO, start: int, stop: int) -> None:
        stored.seek(start)
        self._left = stop - start
        self._stored = stored
        self.fileno = stored.fileno
        self.close = stored.close

    def read(self, size: int) -> bytes:
        data = self._stored.read(min(size, self._left))
        self._left -= len(data)
        return data


def _answer(stored: BinaryIO, kind: str) -> Response:
    """Send an open file, by the kernel where the server can (wsgi.file_wrapper).

    Flask's send_file would add Last-Modified, ETag and a file name.
    """
    size = os.fstat(stored.fileno()).st_size
    if request.method == "HEAD":
        stored.close()
        answer = Response(content_type=kind)
        answer.content_length = size
        answer.headers["Accept-Ranges"] = "bytes"
        return answer
    try:
        part = _part(size)
    except RequestedRangeNotSatisfiable:
        stored.close()
        raise
    start, stop = part or (0, size)
    answer = Response(
        wrap_file(
            request.environ,
            cast("BinaryIO", _Part(stored, start, stop)),
            _BLOCK_BYTES,
        ),
        206 if part else 200,
        content_type=kind,
        direct_passthrough=True,
    )
    answer.content_length = stop - start
    answer.headers["Accept-Ranges"] = "bytes"
    if part:
        answer.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return answer


def _part(size: int) -> tuple[int, int] | None:
    """Return first byte and end of the part that is asked for; None: all of it.

    Several parts at once are answered with all of it, as RFC 9110 (14.2) allows, and so
    is a condition, for we give out no validators that one could name.
    """
    asked = request.range
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return None
    if "If-Range" in request.headers:
        return None
    part = asked.range_for_length(size)
    if part is None:
        raise RequestedRangeNotSatisfiable(size)
    return part


def _not_found() -> Response:
    """Answer 404, not to be kept: the next revision may bring the object."""
    answer = Response("not found\n", 404, content_type="text/plain")
    answer.headers["Cache-Control"] = "no-store"
    return answer
