"""HTTP at the socket: nobody who is slow costs a thread.

Read in this order: ``limits.py`` (what peers are allowed), ``request.py`` (a request
while it comes in), ``response.py`` (an answer while it goes out), ``server.py`` (all
connections of a process), ``gunicorn_bridge.py`` (a request that is there, put through
the application by gunicorn's own parser).

One thread waits for all requests and one for all answers that a peer is slow to take.
A thread of a pool is taken only while a request is worked on, from its last byte in to
the moment at which its answer is handed to the kernel or to the other waiting thread.
"""

from webhook.wire.gunicorn_bridge import WsgiRunner
from webhook.wire.limits import PeerLimits, RequestPolicy
from webhook.wire.request import RequestHead
from webhook.wire.server import HttpServer

__all__ = ["HttpServer", "PeerLimits", "RequestHead", "RequestPolicy", "WsgiRunner"]
