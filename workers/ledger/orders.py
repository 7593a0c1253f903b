"""What a request can want besides that what the registry has be live.

An order is a line of text, which the ledger keeps and hands to the run that answers the
request. The newest request wins, whatever it wants: a push after a removal publishes.
"""

from workers.reference import parse_digest

REMOVE = "remove"
"""Nothing is to be published under the reference any more."""

LOOK = "look"
"""The registry is to be asked at once what it has; its event did not say that."""

EXPIRE = "expire"
"""The reference is to go if its rule keeps only tags that are newer; else as ever."""

_RESTORE = "restore "


def restore(digest: str) -> str:
    """Return the order to publish a digest that was live before.

    Raises:
        InvalidReference: it is no digest.
    """
    return _RESTORE + parse_digest(digest)


def restored_digest(order: str | None) -> str | None:
    """Return the digest that is to be restored, if that is the order.

    Raises:
        InvalidReference: it is no digest; others than we may have written the order.
    """
    if order is None or not order.startswith(_RESTORE):
        return None
    return parse_digest(order.removeprefix(_RESTORE))
