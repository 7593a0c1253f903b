import ipaddress
import socket
from collections.abc import Sequence

import pytest

from workers.registry.transport.addresses import (
    AddressGuard,
    RefusedAddress,
    is_public,
    look_up,
)

PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]
PUBLIC = [
    "1.1.1.1",
    "188.184.0.1",
    "2606:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_within_our_own_walls_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def _names(**hosts: Sequence[str]) -> AddressGuard:
    def found(host: str, port: int) -> Sequence[str]:
        return hosts[host]

    return AddressGuard(frozenset({("internal", 5000)}), look_up=found)


def test_a_host_with_public_and_private_addresses_has_the_public_ones() -> None:
    guard = _names(both=["127.0.0.1", "1.1.1.1", "fe80::1"])
    assert guard.addresses("both", 443) == ["1.1.1.1"]


def test_a_host_that_leads_inside_is_refused_with_the_mend() -> None:
    guard = _names(evil=["169.254.169.254", "::1"])
    with pytest.raises(RefusedAddress, match=r"'evil' port 443 .*169.254.169.254, ::1"):
        guard.addresses("evil", 443)


def test_a_configured_host_may_be_anywhere_but_on_its_port_only() -> None:
    guard = _names(internal=["10.0.0.1"])
    assert guard.addresses("internal", 5000) == ["10.0.0.1"]
    with pytest.raises(RefusedAddress):
        guard.addresses("internal", 6379)


def test_the_judged_address_is_the_one_connected_to() -> None:
    # A name server that answers differently the second time finds nobody asking.
    answers = iter([["127.0.0.1"]])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        guard = AddressGuard(
            frozenset({("rebinding", port)}), look_up=lambda _host, _port: next(answers)
        )
        with guard.connect("rebinding", port, 5.0) as connection:
            assert connection.getpeername() == ("127.0.0.1", port)


def test_the_next_address_is_tried_when_one_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        guard = AddressGuard(
            frozenset({("two", port)}),
            look_up=lambda _host, _port: ["127.0.0.2", "127.0.0.1"],
        )
        with guard.connect("two", port, 5.0) as connection:
            assert connection.getpeername() == ("127.0.0.1", port)


def test_a_host_that_nobody_answers_for_raises_the_last_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    guard = AddressGuard(
        frozenset({("gone", port)}), look_up=lambda _host, _port: ["127.0.0.1"]
    )
    with pytest.raises(ConnectionRefusedError):
        guard.connect("gone", port, 5.0)


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1"])
def test_an_address_in_disguise_is_resolved_and_refused(host: str) -> None:
    with pytest.raises(RefusedAddress):
        AddressGuard(frozenset()).addresses(host, 80)


def test_a_name_that_cannot_be_one_has_no_address() -> None:
    with pytest.raises(socket.gaierror):
        look_up("a" * 64 + ".example.org", 443)
