"""What a peer may take: time, bytes and connections.

Constants but for ``idle_seconds``, which has to suit what stands in front.

Every time is a total: a peer that sends a byte now and then gains nothing by it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from webhook.wire.request import RequestHead


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """The bounds, for each process.

    Attributes:
        head_seconds: for request line and headers, from the first byte on, or from the
            beginning of a connection.
        body_seconds: for the body, from the end of the headers on.
        idle_seconds: between two requests. Longer than a balancer keeps a connection
            that it does not use, or it sends a request into one that is closed already.
        linger_seconds: for a peer to take the end of the last answer.
        answer_seconds: for taking an answer, besides what its size takes at
        slowest_rate: bytes per second.
        connections: at once. When one more comes, the one that has waited longest of
            the address that has most is given up.
        slow_seconds: a request that is not there after this is a slow one.
        slow_per_address: so many slow ones may one client have. Everybody behind a
            proxy that is not known has one address, so those that are not slow do not
            count.
        bodies_bytes: of bodies that are waited for, all together.
        tick_seconds: how often all this is looked after.
    """

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    linger_seconds: float = 2.0
    answer_seconds: float = 30.0
    slowest_rate: float = 16_384.0
    connections: int = 512
    slow_seconds: float = 2.0
    slow_per_address: int = 32
    bodies_bytes: int = 64 * 1024 * 1024
    tick_seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """What is decided of a request by its head, before its body is there.

    All are called in the thread that looks after all connections, so they must not
    wait for anything.

    Attributes:
        body_bytes: how large a body is worth waiting for. Larger ones, and those of
            unwelcome peers, are not read: the application is given the request as it
            is, and answers without having asked for the body.
        is_urgent: whether it goes where slow pages cannot hold it up.
        is_probe: whether it goes where nothing at all can.
        client: the address of who asks, of the peer's and what the head says of it.
    """

    body_bytes: Callable[[RequestHead], int]
    is_urgent: Callable[[RequestHead], bool]
    is_probe: Callable[[RequestHead], bool] = lambda _: False
    client: Callable[[str, RequestHead], str] = lambda peer, _: peer
