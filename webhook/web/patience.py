"""How long a request waits for Redis, all in all; after that it is answered with 503.

A Redis that hangs must neither hold a sender's connection for minutes nor take all
threads from those who could be answered.
"""

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

from workers.jobqueue.allowance import waiting_at_most

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_SECONDS = 2.5
# Behind one that has waited in vain others wait for a thread, and would each wait as
# long in their turn. A server that works again answers in less than this, too.
_NEXT_SECONDS = 0.1
_SILENT_SECONDS = 1.0
# No question that is asked with so little left is answered.
_SPENT_SECONDS = 0.001
# Whoever probes gives up after a second, unless told otherwise (Kubernetes does).
_PROBE_SECONDS = 0.7


def init_app(app: Flask) -> None:
    """Give every request of ``app`` its time."""
    inner: WSGIApplication = app.wsgi_app
    silent_until = -math.inf

    def seconds() -> float:
        is_silent = time.monotonic() < silent_until
        return _NEXT_SECONDS if is_silent else REQUEST_SECONDS

    def patiently(
        environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> "Iterable[bytes]":
        nonlocal silent_until
        if environ.get("PATH_INFO") == "/readyz":
            with waiting_at_most(_PROBE_SECONDS):
                return inner(environ, start_response)
        with waiting_at_most(seconds()) as allowance:
            try:
                return inner(environ, start_response)
            finally:
                if allowance.left < _SPENT_SECONDS:
                    silent_until = time.monotonic() + _SILENT_SECONDS

    app.wsgi_app = patiently  # type: ignore[method-assign]  # as Flask says to
