"""Whom the client is to each registry, and where one may be."""

import pytest

from workers.registry import RefusedAddress, RegistryAccess, RegistryClient


def test_internal_hosts_and_their_token_servers_may_be_anywhere() -> None:
    accesses = {
        "registry.internal": RegistryAccess(
            "registry.internal", token_hosts=("sso.internal:8443",)
        ),
        "far.example": RegistryAccess("far.example", token_hosts=("near.internal",)),
    }
    hosts = frozenset({"registry.internal", "docker.io", "[::1]:5000"})
    client = RegistryClient(
        accesses, internal_hosts=hosts, look_up=lambda _host, _port: ["10.0.0.1"]
    )
    for host, port in [
        ("registry.internal", 443),
        ("registry.internal", 80),
        ("sso.internal", 8443),
        ("registry-1.docker.io", 443),
        ("::1", 5000),
    ]:
        assert client._sessions._guard.addresses(host, port) == ["10.0.0.1"]
    for host, port in [
        ("registry.internal", 6379),
        ("sso.internal", 443),
        ("near.internal", 443),
        ("auth.docker.io", 443),
    ]:
        with pytest.raises(RefusedAddress):
            client._sessions._guard.addresses(host, port)
