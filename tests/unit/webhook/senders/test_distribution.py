"""What Distribution alone does: its header as bytes, its types of content."""

from tests.support.harness.notifications import source
from webhook.senders import SENDERS, IncomingRequest


def test_a_secret_beyond_ascii_arrives_as_its_bytes() -> None:
    sender = SENDERS["distribution"]
    as_wsgi = "Bearer schlüssel".encode().decode("latin-1")
    request = IncomingRequest({"authorization": as_wsgi})
    assert sender.authenticate(request, source("distribution", "schlüssel"))


def test_the_content_types_of_both_generations_are_known() -> None:
    plain = {"application/json"}
    generations = {
        "application/vnd.docker.distribution.events.v1+json",
        "application/vnd.docker.distribution.events.v2+json",
    }
    for kind, expected in (
        ("distribution", plain | generations),
        ("gitlab", plain | generations),
        ("dockerhub", plain),
    ):
        types = SENDERS[kind].CONTENT_TYPES
        assert types == expected
