"""A registry on loopback that takes pushes and deletions, or refuses them.

with WritableRegistry() as registry:
    registry.deletes = {"digest"}  # as Distribution does
    ...  # client.push(…), client.delete(…)
    assert registry.tags_of("thin/analysis") == {"v1": digest}
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply


class WritableRegistry(FakeRegistry):
    """See the module; the attributes may be changed while it runs.

    Attributes:
        deletes: what a deletion may name, ``tag`` or ``digest``.
        delete_scope: actions that a token to delete has to be for, as the challenge
            says; "": ``delete``, and the challenge is silent; None: no token is needed.
        known_actions: those that the token server can read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deletes: Collection[str] = {"tag", "digest"}
        self.delete_scope: str | None = None
        self.known_actions = {"pull", "push", "delete", "*"}
        self._allowed: dict[str, set[str]] = {}

    def tags_of(self, name: str) -> Mapping[str, str]:
        """Return the digests of a repository's tags."""
        return dict(self._tags.get(name, {}))

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
        return needed <= self._allowed.get(token, set())

    def _token(
        self, query: Mapping[str, Sequence[str]], headers: Mapping[str, str]
    ) -> Reply:
        (scope,) = query["scope"]
        actions = set(scope.rpartition(":")[2].split(","))
        if not actions <= self.known_actions:
            return Reply(400, {}, b'{"details": "unable to decode scope"}')
        reply = super()._token(query, headers)
        self._allowed[json.loads(reply.body)["token"]] = actions
        return reply
