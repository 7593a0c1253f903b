"""An S3 service over HTTP, small but faithful in what counts: conditional writes.

Objects with ETags and headers, ``If-Match`` and ``If-None-Match`` decided and written
in one step, multipart uploads, ranges, listings in pages, DeleteObjects, S3's own error
documents. Signatures are not computed, but the key id must be known. It can be told to
misbehave.

with s3_server() as server:
    storage = S3Storage(server.access("some/prefix"))
"""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from workers.cvmfs.storage.bucket import BucketAccess
from workers.cvmfs.storage.s3 import S3Storage

BUCKET = "cvmfs-bucket"
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
PREFIX = "cvmfs/test.example.org"  # of the keys of a repository
SECRET_KEY = "wJalrXUtnFEMI-K7MDENG-a-secret-of-the-tests"


@dataclass(frozen=True, slots=True)
class StoredObject:
    data: bytes
    headers: dict[str, str]
    modified: float = 0.0

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest()}"'


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its key relative to the bucket."""

    method: str
    key: str
    headers: dict[str, str]


class S3Server(ThreadingHTTPServer):
    """The service.

    Attributes:
        objects: by key.
        requests: all that were made.
        ignored: names of condition headers, in lower case, that it does not know.
        refuse: called with each request; a status that it returns is the answer, and
            nothing is done. Negative: it is done, and then the answer is lost.
        cut_after: bytes of a body after which it hangs up.
        clock: its own.
        page_length: keys in a page of a listing.
        knows_delete_objects: whether it deletes many objects by one request.
        is_public: whether everybody may read, as clients of a repository do.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, StoredObject] = {}
        self.uploads: dict[str, tuple[dict[str, str], dict[int, bytes]]] = {}
        self.requests: list[Request] = []
        self.ignored: set[str] = set()
        self.refuse: Callable[[Request], int | None] = lambda _: None
        self.cut_after: int | None = None
        self.clock = time.time
        self.page_length = 1000
        self.knows_delete_objects = True
        self.is_public = False
        self.guard = threading.Lock()
        self.counting = threading.Lock()
        self.in_flight = 0
        self.most_in_flight = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def access(self, prefix: str = "", secret_key: str = SECRET_KEY) -> BucketAccess:
        return BucketAccess(
            BUCKET,
            prefix,
            endpoint=self.url,
            access_key=ACCESS_KEY,
            secret_key=secret_key,
        )

    def methods(self, key: str) -> list[str]:
        return [request.method for request in self.requests if request.key == key]

    def save(self, prefix: str, base: Path) -> None:
        """Write what clients can read as a repository's directory."""
        for key, stored in self.objects.items():
            path = base / key.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stored.data)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that are killed hang up."""


@contextmanager
def s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: S3Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    # The names that the standard library calls.
    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        query = parse_qs(url.query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, key, headers)
        server = self.server
        with server.counting:
            server.requests.append(request)
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
        refusal = server.refuse(request)
        if refusal is not None and refusal > 0:
            self._refuse(refusal, "InternalError")
        elif bucket != BUCKET:
            self._refuse(404, "NoSuchBucket")
        elif not self._may_go_on(headers.get("authorization")):
            self._refuse(403, "InvalidAccessKeyId")
        else:
            with server.guard:
                self._answer(request, query, body, is_lost=refusal is not None)

    def _may_go_on(self, authorization: str | None) -> bool:
        if authorization is None:
            return self.server.is_public and self.command in {"GET", "HEAD"}
        return f"Credential={ACCESS_KEY}/" in authorization

    def _answer(
        self,
        request: Request,
        query: dict[str, list[str]],
        body: bytes,
        *,
        is_lost: bool,
    ) -> None:
        stored = self.server.objects.get(request.key)
        if request.method == "GET" and "list-type" in query:
            self._list(query)
        elif request.method == "POST" and "delete" in query:
            self._delete_all(body)
        elif request.method in {"GET", "HEAD"}:
            self._read(stored, request.headers.get("range"))
        elif request.method == "DELETE":
            self.server.objects.pop(request.key, None)
            self._send(204)
        elif request.method == "POST" and "uploads" in query:
            upload = f"upload-{len(self.server.uploads)}"
            self.server.uploads[upload] = (_kept(request), {})
            self._send(
                200,
                f"<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket>"
                f"<Key>{request.key}</Key><UploadId>{upload}</UploadId>"
                "</InitiateMultipartUploadResult>".encode(),
            )
        elif request.method == "PUT" and "uploadId" in query:
            (upload,), (number,) = query["uploadId"], query["partNumber"]
            self.server.uploads[upload][1][int(number)] = body
            self._send(200, etag=StoredObject(body, {}).etag)
        elif request.method == "POST" and "uploadId" in query:
            kept, parts = self.server.uploads.pop(query["uploadId"][0])
            data = b"".join(parts[number] for number in sorted(parts))
            self.server.objects[request.key] = new = StoredObject(
                data, kept, self.server.clock()
            )
            self._send(
                200,
                "<CompleteMultipartUploadResult>"
                f"<ETag>{new.etag}</ETag></CompleteMultipartUploadResult>".encode(),
            )
        elif request.method == "PUT":
            self._write(request, stored, body, is_lost=is_lost)
        else:
            self._refuse(501, "NotImplemented")

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = sorted(self.server.objects)
        found = [key for key in keys if key.startswith(prefix) and key > after]
        page = found[: self.server.page_length]
        contents = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(stored.data)}</Size>"
            f"<LastModified>{_iso(stored.modified)}</LastModified>"
            f"<ETag>{stored.etag}</ETag></Contents>"
            for key, stored in ((key, self.server.objects[key]) for key in page)
        )
        more, is_cut = "", "false"
        if len(found) > len(page):
            is_cut = "true"
            more = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>"
        self._send(
            200,
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{prefix}</Prefix>"
            f"<KeyCount>{len(page)}</KeyCount>"
            f"<IsTruncated>{is_cut}</IsTruncated>{contents}{more}</ListBucketResult>".encode(),
        )

    def _delete_all(self, body: bytes) -> None:
        if not self.server.knows_delete_objects:
            self._refuse(501, "NotImplemented")
            return
        keys = re.findall(r"<Key>([^<]+)</Key>", body.decode())
        assert 0 < len(keys) <= 1000
        for key in keys:
            self.server.objects.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._send(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _read(self, stored: StoredObject | None, wanted: str | None) -> None:
        if stored is None:
            self._refuse(404, "NoSuchKey")
            return
        data = stored.data
        extra = dict(stored.headers)
        status = 200
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
        if found:
            first, last = int(found[1]), int(found[2] or len(data) - 1)
            extra["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data = data[first : last + 1]
            status = 206
        extra["Last-Modified"] = formatdate(stored.modified, usegmt=True)
        self._send(status, data, etag=stored.etag, extra=extra)

    def _write(
        self,
        request: Request,
        stored: StoredObject | None,
        body: bytes,
        *,
        is_lost: bool,
    ) -> None:
        conditions = {
            name: request.headers[name]
            for name in ("if-match", "if-none-match")
            if name in request.headers and name not in self.server.ignored
        }
        if conditions.get("if-none-match") == "*" and stored is not None:
            self._refuse(412, "PreconditionFailed")
        elif "if-match" in conditions and stored is None:
            self._refuse(404, "NoSuchKey")
        elif stored is not None and conditions.get("if-match", stored.etag) not in {
            stored.etag,
            stored.etag.strip('"'),
        }:
            self._refuse(412, "PreconditionFailed")
        else:
            new = StoredObject(body, _kept(request), self.server.clock())
            self.server.objects[request.key] = new
            if is_lost:
                self._refuse(500, "InternalError")
            else:
                self._send(200, etag=new.etag)

    def _refuse(self, status: int, code: str) -> None:
        # Real services repeat what was sent, the key id and the signed text included.
        text = self.headers.get("Authorization", "")
        self._send(
            status,
            f"<Error><Code>{code}</Code><Message>no</Message>"
            f"<AWSAccessKeyId>{text}</AWSAccessKeyId></Error>".encode(),
        )

    def _send(
        self,
        status: int,
        body: bytes = b"",
        etag: str | None = None,
        extra: dict[str, str] | None = None,
    ) -> None:
        # Before the client can send the next one.
        with self.server.counting:
            self.server.in_flight -= 1
        self.send_response(status)
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        if etag is not None:
            self.send_header("ETag", etag)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body[: self.server.cut_after])
            self.close_connection |= len(body) > (self.server.cut_after or len(body))
        self.wfile.flush()


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def _kept(request: Request) -> dict[str, str]:
    """Return the headers that readers get again."""
    return {
        name: request.headers[name]
        for name in ("content-type", "cache-control")
        if name in request.headers
    }


def storage_on(server: S3Server, patience_seconds: float = 0) -> S3Storage:
    return S3Storage(
        server.access(PREFIX), patience_seconds=patience_seconds, retry_seconds=0
    )


def key(path: str) -> str:
    return f"{PREFIX}/{path}"
