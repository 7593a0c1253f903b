"""The one error of this room that speaks to the author of an image."""

from workers.errors import PermanentError

_SHOWN_LENGTH = 200


class ImageRejected(PermanentError):
    """An image that is not published, with the reason its author can act on."""

    is_open = True


def printable(name: bytes | str) -> str:
    """Return a name as text for a message, control characters escaped, cut short."""
    if isinstance(name, bytes):
        name = name[:_SHOWN_LENGTH].decode(errors="backslashreplace")
    return repr(name[:_SHOWN_LENGTH])[:_SHOWN_LENGTH]
