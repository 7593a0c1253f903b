"""``public_url`` with a path: links lead there, and requests are found below it.

A proxy may hand on that path or take it off; which of the two it does nobody has to
say. So a request is for what stands below the path if that is a route of ours, and else
for what it names.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from flask import Flask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class PathPrefix:
    """The path of ``public_url``.

    Args:
        public_url: without a trailing slash.
    """

    def __init__(self, public_url: str) -> None:
        path = urlsplit(public_url).path
        # WSGI has each byte of a path as one character.
        self._wsgi = unquote_to_bytes(path).decode("latin-1")
        self._text = unquote_to_bytes(path).decode(errors="replace")
        self.origin = public_url.removesuffix(path)
        self.cookie_path = path or "/"

    def __bool__(self) -> bool:
        return bool(self._wsgi)

    def below(self, path: str, firsts: Collection[str]) -> str:
        """Return a path, decoded, as our routes have it.

        Args:
            path: as it was asked for.
            firsts: first components of routes.
        """
        return _below(path, self._text, firsts)

    def init_app(self, app: Flask) -> None:
        """Have ``app`` make links that begin here, and find its routes here, too.

        Call this when all routes are there.
        """
        if not self:
            return
        inner: WSGIApplication = app.wsgi_app
        rules = app.url_map.iter_rules()
        firsts = frozenset(rule.rule.split("/")[1] for rule in rules)

        def below(
            environ: "WSGIEnvironment", start_response: "StartResponse"
        ) -> "Iterable[bytes]":
            path = environ.get("PATH_INFO", "")
            environ["PATH_INFO"] = _below(path, self._wsgi, firsts)
            environ["SCRIPT_NAME"] = self._wsgi
            return inner(environ, start_response)

        app.wsgi_app = below  # type: ignore[method-assign]  # as Flask says to


def _below(path: str, prefix: str, firsts: Collection[str]) -> str:
    rooted = "/" + path.lstrip("/")
    if not prefix or not f"{rooted}/".startswith(f"{prefix}/"):
        return path
    rest = "/" + rooted.removeprefix(prefix).lstrip("/")
    return rest if rest.split("/")[1] in firsts else path
