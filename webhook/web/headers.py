"""What every answer tells the browser not to do."""

from flask import Flask, Response

# Nothing of ours is fetched from elsewhere, inlined or framed. ``data:`` is not allowed
# either: the icons are elements of the page or files beside the style sheet.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def harden(response: Response) -> Response:
    """Add the headers that are missing; a page that needs others has set its own."""
    headers = response.headers
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    # A route's secret may stand in our own URL: it must not travel to other sites.
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    return response


def init_app(app: Flask) -> None:
    """Harden every answer of ``app``."""
    app.after_request(harden)
