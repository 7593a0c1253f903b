"""What the receiver listens on."""

from ipaddress import ip_network

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


@pytest.mark.parametrize(
    "start", ["", "http://h", "HTTPS://user@h:1", "/", "//", "/a/b", "http://h//a/b"]
)
def test_a_hook_has_its_limit_and_threads_however_it_is_named(start: str) -> None:
    secret = (Secret("s3cret"),)
    sources = {"hub": SourceConfig("hub", "dockerhub", secret, "docker.io")}
    limits = Limits(body_bytes=99)
    url = "https://h/a/b"
    decide = policy(Config(public_url=url, sources=sources, limits=limits))
    for path, body, is_urgent, is_probe in (
        ("/hooks/hub/s3cret", 99, True, False),
        ("/hooks/hub/wrong", 0, True, False),
        ("/readyz", 65_536, False, True),
        ("/healthz", 65_536, False, True),
        ("/api/v1/images", 65_536, False, False),
    ):
        line = f"POST {start}{path}?a=b HTTP/1.1"
        head = RequestHead.read(f"{line}\r\nHost: h\r\n\r\n".encode())
        assert decide.body_bytes(head) == body, path
        assert decide.is_urgent(head) is is_urgent, path
        assert decide.is_probe(head) is is_probe, path


def test_a_target_that_is_none_is_decided_about_too() -> None:
    head = RequestHead.read(b"POST http://[h/hooks/hub HTTP/1.1\r\n\r\n")
    assert not policy(Config()).is_urgent(head)


def test_behind_a_known_proxy_the_client_counts() -> None:
    config = Config(trusted_proxies=(ip_network("10.0.0.0/8"),))
    head = RequestHead.read(
        b"GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\n"
        b"x-forwarded-for: 192.0.2.7\r\n\r\n"
    )
    assert policy(config).client("10.0.0.1", head) == "192.0.2.7"
    assert policy(config).client("192.0.2.9", head) == "192.0.2.9"


def test_connections_are_kept_longer_than_balancers_keep_them() -> None:
    # 60 s are usual: nginx' upstreams, and load balancers of AWS.
    assert Config().keep_alive_seconds > 60
