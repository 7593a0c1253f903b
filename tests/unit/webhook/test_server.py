"""What the receiver listens on."""

import pytest

from webhook.server import listening_on, policy
from webhook.wire import RequestHead
from workers.config import Config, ConfigError, Limits, Secret, SourceConfig


@pytest.mark.parametrize("listen", ["8099", "127.0.0.1:99999", "nothing", ":x"])
def test_an_address_that_is_none_is_told_before_anything_starts(listen: str) -> None:
    with pytest.raises(ConfigError, match="--listen: must be host:port"):
        listening_on(Config(), listen)


def test_the_public_url_follows_the_address_unless_it_was_set() -> None:
    config = listening_on(Config(), "127.0.0.1:9000")
    assert config.public_url == "http://127.0.0.1:9000"
    fixed = Config(public_url="https://hooks.example.org")
    assert listening_on(fixed, "0.0.0.0:9000").public_url == "https://hooks.example.org"


@pytest.mark.parametrize("start", ["", "http://h", "HTTPS://user@h:1", "/", "//"])
def test_a_hook_has_its_limit_and_threads_however_it_is_named(start: str) -> None:
    secret = (Secret("s3cret"),)
    sources = {"hub": SourceConfig("hub", "dockerhub", secret, "docker.io")}
    limits = Limits(body_bytes=99)
    decide = policy(sources, limits)
    for path, body, is_urgent in (
        ("/hooks/hub/s3cret", 99, True),
        ("/hooks/hub/wrong", 0, True),
        ("/readyz", 65_536, True),
        ("/api/v1/images", 65_536, False),
    ):
        line = f"POST {start}{path}?a=b HTTP/1.1"
        head = RequestHead.read(f"{line}\r\nHost: h\r\n\r\n".encode())
        assert decide.body_bytes(head) == body, path
        assert decide.is_urgent(head) is is_urgent, path
