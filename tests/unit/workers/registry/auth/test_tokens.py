import base64
import json
from collections.abc import Iterator, Mapping

import pytest

from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import MisbehavingServer, Reply
from tests.support.registries.one_image import NAME, open_client
from workers.errors import WorkerError
from workers.reference import Reference
from workers.registry import (
    AccessDenied,
    MalformedChallenge,
    RegistryAccess,
    RegistryProtocolError,
    RegistryUnavailable,
    UntrustedRealm,
)
from workers.registry.auth.access import Credentials
from workers.registry.auth.tokens import TokenCache, TokenKey, trusted_realm


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.push_image(NAME, "v1", [b""])
        registry.push_image("cms/other", "v1", [b""])
        yield registry


def _reference(registry: FakeRegistry, name: str = NAME) -> Reference:
    return Reference.parse(f"{registry.host}/{name}:v1")


def test_a_challenge_is_answered_with_a_token_for_pulling_that_repository(
    registry: FakeRegistry,
) -> None:
    registry.tokens_for_all = True
    with open_client(registry) as client:
        client.resolve(_reference(registry))
    (asked,) = registry.seen("GET", "^/token")
    assert (
        asked.path == "/token?service=fake&scope=repository%3Aatlas%2Fanalysis%3Apull"
    )
    assert "Authorization" not in asked.headers


def test_a_token_serves_until_it_is_refused(registry: FakeRegistry) -> None:
    registry.tokens_for_all = True
    with open_client(registry) as client:
        for _ in range(3):
            client.resolve(_reference(registry))
        assert len(registry.seen("GET", "^/token")) == 1
        registry.revoke_tokens()
        client.resolve(_reference(registry))
    assert len(registry.seen("GET", "^/token")) == 2


def test_every_repository_needs_a_token_of_its_own(registry: FakeRegistry) -> None:
    registry.tokens_for_all = True
    with open_client(registry) as client:
        client.resolve(_reference(registry))
        client.resolve(_reference(registry, "cms/other"))
    assert len(registry.seen("GET", "^/token")) == 2


def test_credentials_open_a_private_repository(registry: FakeRegistry) -> None:
    registry.make_private(NAME)
    with open_client(registry, with_password=True) as client:
        client.resolve(_reference(registry))
    (asked,) = registry.seen("GET", "^/token")
    pair = base64.b64encode(b"robot:s3cret-password").decode()
    assert asked.headers["Authorization"] == f"Basic {pair}"


def test_without_credentials_a_private_repository_stays_closed(
    registry: FakeRegistry,
) -> None:
    registry.make_private(NAME)
    with (
        open_client(registry) as client,
        pytest.raises(AccessDenied, match=rf"{NAME}:v1: .* answered 401"),
    ):
        client.manifest(_reference(registry))


def test_wrong_credentials_are_refused_by_the_token_server(
    registry: FakeRegistry,
) -> None:
    registry.make_private(NAME)
    with open_client(registry, with_password=True) as client:
        registry.credentials = ("robot", "changed")
        with pytest.raises(AccessDenied, match="incorrect username or password"):
            client.resolve(_reference(registry))


def test_a_basic_challenge_gets_the_password_and_no_token(
    registry: FakeRegistry,
) -> None:
    registry.challenge = 'Basic realm="registry"'
    registry.make_private(NAME)
    with (
        open_client(registry, with_password=True) as client,
        pytest.raises(AccessDenied),
    ):
        client.resolve(_reference(registry))
    first, second = registry.seen("HEAD")
    assert "Authorization" not in first.headers
    assert second.headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("challenge", ["", 'Basic realm="r"', "Negotiate"])
def test_a_challenge_that_cannot_be_answered_is_a_refusal(
    registry: FakeRegistry, challenge: str
) -> None:
    registry.challenge = challenge
    registry.make_private(NAME)
    with open_client(registry) as client, pytest.raises(AccessDenied):
        client.resolve(_reference(registry))


def test_a_challenge_that_follows_no_grammar_is_named(registry: FakeRegistry) -> None:
    registry.challenge = 'Bearer realm="'
    registry.make_private(NAME)
    with (
        open_client(registry) as client,
        pytest.raises(MalformedChallenge, match=rf"{NAME}:v1: WWW-Authenticate"),
    ):
        client.resolve(_reference(registry))


class _Spy(MisbehavingServer):
    """A token server that everybody may ask, as an attacker would run one."""

    def right_reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        return Reply(body=b'{"token": "stolen"}')


def test_a_realm_that_nobody_vouched_for_hears_nothing(registry: FakeRegistry) -> None:
    registry.make_private(NAME)
    with _Spy() as spy, open_client(registry, with_password=True) as client:
        registry.realm = f"{spy.url}/token"
        with pytest.raises(UntrustedRealm, match=rf"add {spy.host} to its token_hosts"):
            client.resolve(_reference(registry))
        assert spy.seen() == []


def test_a_realm_that_the_operator_named_is_asked(registry: FakeRegistry) -> None:
    with _Spy() as spy:
        registry.make_private(NAME)
        registry.realm = f"{spy.url}/token?account=a"
        with (
            open_client(
                registry, with_password=True, token_hosts=(spy.host,)
            ) as client,
            pytest.raises(AccessDenied),
        ):
            client.resolve(_reference(registry))
        (asked,) = spy.seen()
    assert asked.path.startswith("/token?account=a&service=fake&scope=")
    assert asked.headers["Authorization"].startswith("Basic ")


def test_a_token_server_that_redirects_is_not_followed(registry: FakeRegistry) -> None:
    registry.make_private(NAME)
    with _Spy() as spy, open_client(registry, with_password=True) as client:
        registry.redirect("^/token", spy.url)
        with pytest.raises(RegistryProtocolError, match="redirects elsewhere"):
            client.resolve(_reference(registry))
        assert spy.seen() == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RegistryProtocolError),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, AccessDenied),
        (429, RegistryUnavailable),
        (503, RegistryUnavailable),
    ],
)
def test_a_token_server_refuses_like_a_registry(
    registry: FakeRegistry, status: int, kind: type[WorkerError]
) -> None:
    registry.tokens_for_all = True
    registry.fail("GET", "^/token", status=status)
    with open_client(registry) as client, pytest.raises(kind, match=r"^token for 127"):
        client.resolve(_reference(registry))


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[" * 60_000,
        b"{}",
        b'{"token": 1}',
        b'{"token": ""}',
        b'{"token": "a b"}',
        b'{"token": "a\\r\\nX: y"}',
        b'{"token": "\xc3\xa4"}',
        json.dumps({"token": "x" * 20_000}).encode(),
        json.dumps({"token": "x", "padding": "x" * 70_000}).encode(),
    ],
)
def test_what_could_not_be_a_token_is_refused(
    registry: FakeRegistry, body: bytes
) -> None:
    registry.tokens_for_all = True
    registry.fail("GET", "^/token", status=200, body=body)
    with (
        open_client(registry) as client,
        pytest.raises(RegistryProtocolError) as refusal,
    ):
        client.resolve(_reference(registry))
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("seconds", [None, 5, "long", True])
def test_a_token_may_be_called_access_token_and_live_for_any_time(
    registry: FakeRegistry, seconds: object
) -> None:
    registry.tokens_for_all = True
    registry._tokens["given"] = {NAME}
    answer = json.dumps({"access_token": "given", "expires_in": seconds}).encode()
    registry.fail("GET", "^/token", status=200, body=answer)
    with open_client(registry) as client:
        client.resolve(_reference(registry))
        client.resolve(_reference(registry))
    assert len(registry.seen("GET", "^/token")) == 1


def test_the_registrys_own_form_of_scope_is_passed_on(registry: FakeRegistry) -> None:
    registry.challenge = f'Bearer realm="{registry.url}/token",scope="aws"'
    registry.make_private(NAME)
    with open_client(registry) as client, pytest.raises(AccessDenied):
        client.resolve(_reference(registry))
    (asked,) = registry.seen("GET", "^/token")
    assert asked.path == "/token?scope=aws"


@pytest.mark.parametrize("name", ["cms/other", NAME])
def test_no_more_is_asked_for_than_pulling_this_repository(
    registry: FakeRegistry, name: str
) -> None:
    scope = f"repository:{name}:pull,push,delete"
    registry.challenge = f'Bearer realm="{registry.url}/token",scope="{scope}"'
    registry.make_private(NAME)
    with open_client(registry, with_password=True) as client:
        client.resolve(_reference(registry))
    (asked,) = registry.seen("GET", "^/token")
    assert asked.path == "/token?scope=repository%3Aatlas%2Fanalysis%3Apull"


HUB = RegistryAccess("docker.io")
GITLAB = RegistryAccess("gitlab.example.org:5050", token_hosts=("sso.example.org",))
PLAIN = RegistryAccess("127.0.0.1:5000", plain_http=True)


@pytest.mark.parametrize(
    ("realm", "access"),
    [
        ("https://auth.docker.io/token", HUB),
        ("https://registry-1.docker.io/token", HUB),
        ("https://gitlab.example.org/jwt/auth", GITLAB),
        ("https://gitlab.example.org:5050/jwt/auth", GITLAB),
        ("https://sso.example.org/token", GITLAB),
        ("http://127.0.0.1:5000/token", PLAIN),
        ("https://127.0.0.1:5000/token", PLAIN),
        ("https://gitlab.cern.ch/jwt/auth", RegistryAccess("gitlab-registry.cern.ch")),
    ],
)
def test_a_realm_at_the_registry_or_a_named_host_is_trusted(
    realm: str, access: RegistryAccess
) -> None:
    assert trusted_realm(realm, access) == realm


@pytest.mark.parametrize(
    ("realm", "access"),
    [
        ("", HUB),
        ("https://", HUB),
        ("http://auth.docker.io/token", HUB),
        ("https://auth.docker.io:8443/token", HUB),
        ("https://auth.docker.io.evil.example/token", HUB),
        ("https://auth.docker.io@evil.example/token", HUB),
        ("https://evil.example\\@auth.docker.io/token", HUB),
        ("https://auth.docker.io/token", GITLAB),
        ("https://gitlab.example.org:8443/token", GITLAB),
        ("http://127.0.0.1:5001/token", PLAIN),
        ("http://169.254.169.254/latest/meta-data", PLAIN),
        ("file:///etc/passwd", PLAIN),
    ],
)
def test_any_other_realm_is_not(realm: str, access: RegistryAccess) -> None:
    with pytest.raises(UntrustedRealm, match=access.host):
        trusted_realm(realm, access)


def test_tokens_are_told_apart_by_everything_that_they_are_for() -> None:
    now = 0.0
    cache = TokenCache(clock=lambda: now)
    robot, other = Credentials("robot", "a"), Credentials("robot", "b")
    key = TokenKey("r", "https://r/token", "service", "scope", robot)
    cache.put(key, "text", 300)
    assert cache.get(key) == "text"
    for wrong in (
        TokenKey("x", "https://r/token", "service", "scope", robot),
        TokenKey("r", "https://x/token", "service", "scope", robot),
        TokenKey("r", "https://r/token", "x", "scope", robot),
        TokenKey("r", "https://r/token", "service", "x", robot),
        TokenKey("r", "https://r/token", "service", "scope", other),
        TokenKey("r", "https://r/token", "service", "scope", None),
    ):
        assert cache.get(wrong) is None


@pytest.mark.parametrize(
    ("lifetime", "until"), [(1, 50), (60, 50), (300, 290), (10**9, 3590)]
)
def test_a_token_is_given_up_shortly_before_its_end(
    lifetime: float, until: float
) -> None:
    now = 1000.0
    cache = TokenCache(clock=lambda: now)
    key = TokenKey("r", "https://r/token", "", "", None)
    cache.put(key, "text", lifetime)
    now = 1000.0 + until - 1
    assert cache.get(key) == "text"
    now = 1000.0 + until
    assert cache.get(key) is None


def test_the_cache_does_not_grow_for_ever() -> None:
    now = 0.0
    cache = TokenCache(clock=lambda: now)
    for n in range(5000):
        now = n / 10
        cache.put(TokenKey("r", "https://r", "", str(n), None), "text", 60)
    assert len(cache._tokens) <= 1024
    assert cache.get(TokenKey("r", "https://r", "", "4999", None)) == "text"
