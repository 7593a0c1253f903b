"""How long a request waits for Redis, all in all; after that it is answered with 503.

A Redis that hangs must neither hold a sender's connection for minutes nor take all
threads from those who could be answered.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

from workers.jobqueue.allowance import waiting_at_most

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_SECONDS = 2.5
# Whoever probes gives up after a second, unless told otherwise (Kubernetes does).
_PROBE_SECONDS = 0.7


def init_app(app: Flask) -> None:
    """Give every request of ``app`` its time."""
    inner: WSGIApplication = app.wsgi_app

    def patiently(
        environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> "Iterable[bytes]":
        is_probe = environ.get("PATH_INFO") == "/readyz"
        with waiting_at_most(_PROBE_SECONDS if is_probe else REQUEST_SECONDS):
            return inner(environ, start_response)

    app.wsgi_app = patiently  # type: ignore[method-assign]  # as Flask says to
