"""What the receiver listens on."""

import pytest

from webhook.server import listening_on
from workers.config import Config, ConfigError


@pytest.mark.parametrize("listen", ["8099", "127.0.0.1:99999", "nothing", ":x"])
def test_an_address_that_is_none_is_told_before_anything_starts(listen: str) -> None:
    with pytest.raises(ConfigError, match="--listen: must be host:port"):
        listening_on(Config(), listen)


def test_the_public_url_follows_the_address_unless_it_was_set() -> None:
    config = listening_on(Config(), "127.0.0.1:9000")
    assert config.public_url == "http://127.0.0.1:9000"
    fixed = Config(public_url="https://hooks.example.org")
    assert listening_on(fixed, "0.0.0.0:9000").public_url == "https://hooks.example.org"
