"""What stands on every answer."""

from tests.support.harness.ledger import REFERENCE
from tests.support.harness.web_app import WebApp


def test_every_answer_keeps_browsers_from_guessing_and_framing(web: WebApp) -> None:
    for path in ("/api/v1/images", "/", "/login", f"/badge/{REFERENCE}.svg"):
        headers = web.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
