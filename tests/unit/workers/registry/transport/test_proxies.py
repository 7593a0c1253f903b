"""Which proxy leads where, and that what may not be reached is not reached by one."""

import base64
from collections.abc import Iterator, Sequence

import pytest

from tests.support.registries.certificates import ServerCertificate
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.forward_proxy import ForwardProxy
from tests.support.registries.pulls import IMAGE, NAME, pull
from workers.registry import (
    Proxies,
    RefusedAddress,
    RegistryAccess,
    RegistryClient,
    RegistryUnavailable,
)
from workers.registry.transport.addresses import AddressGuard
from workers.registry.transport.origin import Origin

PROXY = "http://proxy.example:3128"
BASIC = f"Basic {base64.b64encode(b'user:secret').decode()}"


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with ForwardProxy() as opened:
        yield opened


def nowhere(host: str, _port: int) -> Sequence[str]:
    """Look up as where no name but those of this network is known."""
    if host == "127.0.0.1":
        return [host]
    if host == "intranet.example":
        return ["10.0.0.1"]
    raise OSError("no such name")


@pytest.mark.parametrize(
    ("url", "exempt", "found"),
    [
        ("https://r.example/v2/", "", PROXY),
        ("http://r.example/v2/", "", None),  # there is none for it
        ("https://r.example/", "*", None),
        ("https://r.example/", "other.example, r.example", None),
        ("https://a.r.example/", "r.example", None),
        ("https://a.r.example/", ".r.example", None),
        ("https://a.r.example/", "*.r.example other", None),
        ("https://bar.example/", "r.example", PROXY),
        ("https://r.example:5000/", "R.example:5000", None),
        ("https://r.example/", "r.example:5000", PROXY),
        ("https://192.0.2.7/", "192.0.2.0/24", None),
        ("https://192.0.2.7/", "192.0.3.0/24", PROXY),
        ("https://[2001:db8::1]/", "2001:db8::/32", None),
        ("https://r.example/", "[::1, a:b:c, /", PROXY),
        ("https://localhost:5000/", "", None),
        ("https://127.0.0.1/", "", None),
    ],
)
def test_what_the_environment_exempts_is_reached_without(
    url: str, exempt: str, found: str | None
) -> None:
    proxies = Proxies(https=PROXY, exempt=exempt)
    assert proxies.towards(Origin.of(url)) == found


def test_a_registry_with_tls_is_reached_through_a_proxy(
    proxy: ForwardProxy, tls_registry: FakeRegistry, certificate: ServerCertificate
) -> None:
    access = RegistryAccess(
        tls_registry.host,
        ca_file=certificate.authority,
        proxy=f"http://user:secret@{proxy.host}",
    )
    with RegistryClient(
        {tls_registry.host: access},
        internal_hosts=frozenset({tls_registry.host}),
        look_up=nowhere,
    ) as client:
        pull(client, tls_registry.host)
    assert set(proxy.asked) == {("CONNECT", tls_registry.host, BASIC)}
    assert "Proxy-Authorization" not in tls_registry.seen()[0].headers


def test_a_name_that_only_the_proxy_can_look_up_is_left_to_it(
    proxy: ForwardProxy,
) -> None:
    with FakeRegistry() as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        host = f"far.example:{registry.host.partition(':')[2]}"
        access = RegistryAccess(host, plain_http=True)
        with RegistryClient(
            {host: access},
            internal_hosts=frozenset(),
            look_up=nowhere,
            proxies=Proxies(http=f"http://user:secret@{proxy.host}"),
        ) as client:
            pull(client, host)
    method, target, said = proxy.asked[0]
    assert (method, said) == ("GET", BASIC)
    assert target == f"http://{host}/v2/{NAME}/manifests/v1"


def test_a_registry_may_be_reached_without_the_proxy_of_the_environment(
    proxy: ForwardProxy,
) -> None:
    with FakeRegistry() as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        host = f"far.example:{registry.host.partition(':')[2]}"
        access = RegistryAccess(host, plain_http=True, proxy="")
        with RegistryClient(
            {host: access},
            internal_hosts=frozenset({host}),
            look_up=lambda _host, _port: ["127.0.0.1"],
            proxies=Proxies(http=f"http://{proxy.host}"),
        ) as client:
            pull(client, host)
    assert proxy.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "169.254.169.254",
        "[fd00::1]",
        "0x7f.1",
        "2130706433:80",
        "redis:6379",
        "metadata.google.internal",
        "printer.local",
        "intranet.example",
    ],
)
def test_a_proxy_is_not_asked_for_what_is_in_a_private_network(
    proxy: ForwardProxy, host: str
) -> None:
    access = RegistryAccess(host, plain_http=True, proxy=f"http://{proxy.host}")
    with (
        RegistryClient(
            {host: access}, internal_hosts=frozenset(), look_up=nowhere
        ) as client,
        pytest.raises(RefusedAddress),
    ):
        pull(client, host)
    assert proxy.asked == []


def test_what_the_operator_has_named_may_be_anywhere_behind_a_proxy() -> None:
    guard = AddressGuard(frozenset({("redis", 80)}), look_up=nowhere)
    guard.check_behind_proxy("redis", 80)
    guard.check_behind_proxy("abc.de", 80)
    with pytest.raises(RefusedAddress):
        guard.check_behind_proxy("redis", 6379)


def test_a_proxy_that_refuses_is_named(
    proxy: ForwardProxy, tls_registry: FakeRegistry
) -> None:
    proxy.refuse = 407
    access = RegistryAccess(tls_registry.host, proxy=f"http://{proxy.host}")
    with (
        RegistryClient(
            {tls_registry.host: access},
            internal_hosts=frozenset({tls_registry.host}),
        ) as client,
        pytest.raises(RegistryUnavailable, match="its proxy, which answered 407"),
    ):
        pull(client, tls_registry.host)


def test_a_proxy_that_is_not_there_is_named(tls_registry: FakeRegistry) -> None:
    with ForwardProxy() as gone:
        place = gone.host
    access = RegistryAccess(tls_registry.host, proxy=f"http://user:secret@{place}")
    with (
        RegistryClient(
            {tls_registry.host: access},
            internal_hosts=frozenset({tls_registry.host}),
        ) as client,
        pytest.raises(RegistryUnavailable, match="its proxy refuses") as refusal,
    ):
        pull(client, tls_registry.host)
    assert "secret" not in str(refusal.value)
