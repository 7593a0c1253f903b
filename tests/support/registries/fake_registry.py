"""A registry on loopback that misbehaves on request.

A real HTTP server, for what a real registry does only on a bad day::

    with FakeRegistry() as registry:
        image = registry.push_image("atlas/analysis", "v1", layers=[tar_of({...})])
        registry.fail("GET", "/blobs/", status=503, times=2)
        ...  # registry.host is "127.0.0.1:<port>"
        assert registry.seen("GET", "/blobs/")

What it can be made to do wrong is in ``MisbehavingServer``. Pushes and deletions come
over HTTP from a client of ours, or are method calls of a test.
"""

import base64
import dataclasses
import json
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from tests.support.images.oci import (
    Image,
    Index,
    Kind,
    Layer,
    build_image,
    build_index,
    digest_of,
)
from tests.support.registries.certificates import ServerCertificate
from tests.support.registries.misbehaving_server import MisbehavingServer, Reply


class FakeRegistry(MisbehavingServer):
    """See the module; the attributes may be changed while it runs.

    Attributes:
        credentials: user and password that the token server knows.
        realm: of the challenge; None: this registry's own ``/token``.
        challenge: more of ``WWW-Authenticate``, to lie with; None: a right one.
        tokens_for_all: even public repositories want a token, as at Docker Hub.
        token_seconds: what the token server says; None: nothing.
        page_tags: most tags on a page, whatever is asked for; None: no limit.
        has_catalog: whether it lists its repositories.
        deletes: what a deletion may name, ``tag`` or ``digest``.
        delete_scope: actions that a token to delete has to be for, as the challenge
            says; "": ``delete``, and the challenge is silent; None: no token is needed.
        known_actions: those that the token server can read.
    """

    def __init__(self, *, tls: ServerCertificate | None = None) -> None:
        super().__init__(tls=tls)
        self.credentials = ("robot", "s3cret-password")
        self.realm: str | None = None
        self.challenge: str | None = None
        self.tokens_for_all = False
        self.token_seconds: int | None = 300
        self.page_tags: int | None = None
        self.has_catalog = False
        self.deletes: Collection[str] = {"tag", "digest"}
        self.delete_scope: str | None = None
        self.known_actions = {"pull", "push", "delete", "*"}
        self._blobs: dict[tuple[str, str], bytes] = {}
        self._manifests: dict[tuple[str, str], tuple[bytes, str]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._private: set[str] = set()
        self._private_blobs: set[tuple[str, str]] = set()
        self._our_tokens: set[str] = set()
        self._tokens: dict[str, set[str]] = {}
        self._actions: dict[str, set[str]] = {}

    def push_image(
        self,
        name: str,
        tag: str | None,
        layers: Sequence[bytes | Layer],
        *,
        config: Mapping[str, object] | None = None,
        kind: Kind = "oci",
        platform: str = "linux/amd64",
    ) -> Image:
        """Build an image as ``build_image`` does and hold it."""
        image = build_image(layers, config=config, kind=kind, platform=platform)
        self.hold_image(name, tag, image)
        return image

    def hold_image(self, name: str, tag: str | None, image: Image) -> None:
        """Hold an image that was built elsewhere."""
        for blob in image.blobs:
            self.push_blob(name, blob)
        self.push_manifest(name, tag, image.manifest, image.media_type)

    def push_index(
        self, name: str, tag: str | None, images: Sequence[Image], kind: Kind = "oci"
    ) -> Index:
        """Hold an index and its images, which get no tag."""
        for image in images:
            self.hold_image(name, None, image)
        index = build_index(images, kind=kind)
        self.push_manifest(name, tag, index.manifest, index.media_type)
        return index

    def push_blob(self, name: str, data: bytes, digest: str | None = None) -> str:
        """Hold a blob, by a digest that may be a lie."""
        digest = digest or digest_of(data)
        self._blobs[name, digest] = data
        return digest

    def push_manifest(
        self, name: str, tag: str | None, raw: bytes, media_type: str
    ) -> str:
        """Hold any bytes as a manifest."""
        digest = digest_of(raw)
        self._manifests[name, digest] = (raw, media_type)
        if tag is not None:
            self._tags.setdefault(name, {})[tag] = digest
        return digest

    def delete_tag(self, name: str, tag: str) -> None:
        """Forget a tag; its manifest stays."""
        del self._tags[name][tag]

    def tags_of(self, name: str) -> Mapping[str, str]:
        """Return the digests of a repository's tags."""
        return dict(self._tags.get(name, {}))

    def make_private(self, name: str) -> None:
        """Give tokens for a repository only to who knows ``credentials``."""
        self._private.add(name)

    def make_public(self, name: str) -> None:
        """Undo ``make_private``."""
        self._private.discard(name)

    def make_blob_private(self, name: str, digest: str) -> None:
        """Give a blob only to who knows ``credentials``, whoever gets the manifest."""
        self._private_blobs.add((name, digest))

    def revoke_tokens(self) -> None:
        """Forget all tokens given out so far, as if they had expired."""
        self._tokens.clear()

    def right_reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        """Return what a registry answers."""
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        if parts.path == "/token":
            return self._token(query, headers)
        if parts.path == "/v2/_catalog" and self.has_catalog:
            names = json.dumps({"repositories": sorted(self._tags)})
            return Reply(200, {"Content-Type": "application/json"}, names.encode())
        match = re.fullmatch(
            r"/v2/(.+)/(manifests|blobs|tags)/([^/]+)", parts.path, re.ASCII
        )
        if match is None or method not in {"GET", "HEAD"}:
            return _error(404, "UNSUPPORTED", "no such route")
        name, what, which = match.groups()
        is_kept = what == "blobs" and (name, which) in self._private_blobs
        if not self._may_pull(name, headers) or (
            is_kept and not self._is_ours(headers)
        ):
            return self._challenge(name, headers)
        if what == "tags":
            return self._tag_list(name, query)
        if what == "manifests":
            return self._manifest(name, which)
        return self._blob(name, which, headers)

    def written_reply(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Return what a registry answers."""
        parts = urlsplit(path)
        upload = re.fullmatch(r"/v2/(.+)/blobs/uploads/(1?)", parts.path, re.ASCII)
        manifest = re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", parts.path, re.ASCII)
        if upload and method == "POST":
            return Reply(202, {"Location": f"{parts.path}1"})
        if upload and method == "PUT":
            (digest,) = parse_qs(parts.query)["digest"]
            is_right = digest == self.push_blob(upload[1], body)
            return Reply(201 if is_right else 400)
        if manifest and method == "PUT":
            media_type = headers["Content-Type"]
            self.push_manifest(manifest[1], manifest[2], body, media_type)
            return Reply(201)
        if manifest and method == "DELETE":
            return self._deletion(manifest[1], manifest[2], headers)
        return Reply(404)

    def _deletion(self, name: str, which: str, headers: Mapping[str, str]) -> Reply:
        if not self._may_delete(headers):
            scope = (
                self.delete_scope and f',scope="repository:{name}:{self.delete_scope}"'
            )
            bearer = f'Bearer realm="{self.url}/token",service="fake"{scope}'
            return Reply(401, {"WWW-Authenticate": bearer})
        kind = "digest" if ":" in which else "tag"
        if kind not in self.deletes:
            return Reply(405, {}, b'{"errors": [{"code": "UNSUPPORTED"}]}')
        tags = self._tags.get(name, {})
        gone = [tag for tag, digest in tags.items() if which in {tag, digest}]
        for tag in gone:
            del tags[tag]
        known = self._manifests.pop((name, which), None) if kind == "digest" else gone
        return Reply(202 if known else 404)

    def _may_delete(self, headers: Mapping[str, str]) -> bool:
        if self.delete_scope is None:
            return True
        token = headers.get("Authorization", "").partition(" ")[2]
        needed = set((self.delete_scope or "delete").split(","))
        return needed <= self._actions.get(token, set())

    def _manifest(self, name: str, which: str) -> Reply:
        digest = self._tags.get(name, {}).get(which, which)
        if (name, digest) not in self._manifests:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        raw, media_type = self._manifests[name, digest]
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest}
        return Reply(200, headers, raw)

    def _blob(self, name: str, digest: str, headers: Mapping[str, str]) -> Reply:
        if (name, digest) not in self._blobs:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        data = self._blobs[name, digest]
        sent = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=([0-9]+)-", headers.get("Range", ""))
        if asked is None:
            return Reply(200, sent, data)
        start = int(asked[1])
        if start >= len(data):
            return Reply(416)
        sent["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Reply(206, sent, data[start:])

    def _tag_list(self, name: str, query: Mapping[str, Sequence[str]]) -> Reply:
        if name not in self._tags:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        last = query.get("last", [""])[0]
        tags = [tag for tag in sorted(self._tags[name]) if tag > last]
        most = int(query.get("n", ["100000"])[0])
        if self.page_tags is not None:
            most = min(most, self.page_tags)
        page, rest = tags[:most], tags[most:]
        headers = {"Content-Type": "application/json"}
        if rest:
            following = f"/v2/{name}/tags/list?n={most}&last={page[-1]}"
            headers["Link"] = f'<{following}>; rel="next"'
        return Reply(200, headers, json.dumps({"name": name, "tags": page}).encode())

    def _may_pull(self, name: str, headers: Mapping[str, str]) -> bool:
        if name not in self._private and not self.tokens_for_all:
            return True
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and name in self._tokens.get(token, set())

    def _is_ours(self, headers: Mapping[str, str]) -> bool:
        token = headers.get("Authorization", "").partition(" ")[2]
        return token in self._our_tokens

    def _challenge(self, name: str, headers: Mapping[str, str]) -> Reply:
        header = self.challenge
        if header is None:
            realm = self.realm or f"{self.url}/token"
            scope = f"repository:{name}:pull"
            header = f'Bearer realm="{realm}",service="fake",scope="{scope}"'
        token = headers.get("Authorization", "").partition(" ")[2]
        if token and self.challenge is None:
            # As Distribution does.
            is_known = token in self._tokens
            why = "insufficient_scope" if is_known else "invalid_token"
            header += f',error="{why}"'
        reply = _error(401, "UNAUTHORIZED", "authentication required")
        return dataclasses.replace(
            reply, headers={**reply.headers, "WWW-Authenticate": header}
        )

    def _token(
        self, query: Mapping[str, Sequence[str]], headers: Mapping[str, str]
    ) -> Reply:
        sent = headers.get("Authorization")
        pair = ":".join(self.credentials)
        right = f"Basic {base64.b64encode(pair.encode()).decode()}"
        if sent not in {None, right}:
            return Reply(401, {}, b'{"details": "incorrect username or password"}')
        scopes = [
            scope.split(":", 2)
            for scope in query.get("scope", [])
            if scope.startswith("repository:")
        ]
        names = {name for _, name, _ in scopes}
        actions = {one for *_, asked in scopes for one in asked.split(",")}
        if not actions <= self.known_actions:
            return Reply(400, {}, b'{"details": "unable to decode scope"}')
        token = secrets.token_urlsafe()
        self._actions[token] = actions
        if sent == right:
            self._our_tokens.add(token)
        # Getting less than was asked for is not an error.
        self._tokens[token] = names if sent == right else names - self._private
        answer: dict[str, object] = {"token": token}
        if self.token_seconds is not None:
            answer["expires_in"] = self.token_seconds
        return Reply(200, {}, json.dumps(answer).encode())


def _error(status: int, code: str, message: str) -> Reply:
    document = {"errors": [{"code": code, "message": message, "detail": None}]}
    body = json.dumps(document).encode()
    return Reply(status, {"Content-Type": "application/json"}, body)
