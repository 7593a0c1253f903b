"""HTTP at the socket: nobody who is slow costs a thread.

Read in this order: ``terms.py`` (what peers are allowed), ``arriving.py`` (a request
while it comes in), ``leaving.py`` (an answer while it goes out), ``door.py`` (who looks
after all connections), ``speaking.py`` (a request that is there, put through the
application by gunicorn's own parser).

One thread waits for all requests and one for all answers that a peer is slow to take.
A thread of a lane is taken only while a request is worked on, from its last byte in to
the moment at which its answer is handed to the kernel or to the other waiting thread.
"""

from webhook.wire.gunicorn_bridge import Speaker
from webhook.wire.limits import Desk, Terms
from webhook.wire.request import Head
from webhook.wire.server import Door

__all__ = ["Desk", "Door", "Head", "Speaker", "Terms"]
