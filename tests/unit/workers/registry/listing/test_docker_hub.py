"""Docker Hub lists a namespace by an API of its own."""

import json

import pytest

from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from workers.errors import PermanentError
from workers.reference import InvalidReference, Reference
from workers.registry import (
    RefusedAddress,
    RegistryAccess,
    RegistryClient,
    RegistryProtocolError,
    RegistryUnavailable,
)
from workers.registry.listing.docker_hub import namespace_path, parse_namespace
from workers.registry.listing.pages import list_namespace


def test_a_namespace_of_docker_hub_is_listed_to_its_last_page(
    client: RegistryClient, registry: FakeRegistry, reference: Reference
) -> None:
    def page(path: str, _reply: Reply) -> Reply:
        number = int(path.rpartition("=")[2])
        listed = {
            "next": None if number == 3 else f"https://x/?page={number + 1}",
            "results": [{"name": f"image{number}"}],
        }
        return Reply(200, {}, json.dumps(listed).encode())

    registry.spoil("GET", "/v2/namespaces/atlas/repositories", page, times=None)
    session = client._sessions.session(reference.registry)
    listed = list(list_namespace(session, "atlas"))
    assert listed == ["atlas/image1", "atlas/image2", "atlas/image3"]
    registry.fail("GET", "page=2", status=500)
    names = list_namespace(session, "atlas")
    assert next(names) == "atlas/image1"
    with pytest.raises(RegistryUnavailable):
        next(names)


def test_docker_hub_is_asked_for_one_namespace_at_a_time(
    client: RegistryClient,
) -> None:
    with pytest.raises(PermanentError, match="one namespace at a time"):
        client.repositories("docker.io", None)


def test_docker_hub_lists_a_namespace_page_by_page() -> None:
    first = b'{"count": 2, "next": "https://x/?page=2", "results": [{"name": "a"}]}'
    last = b'{"count": 2, "next": null, "results": [{"name": "b", "namespace": "n"}]}'
    assert parse_namespace(first, "atlas", "s") == (["atlas/a"], True)
    assert parse_namespace(last, "atlas", "s") == (["atlas/b"], False)
    path = namespace_path("atlas", 2)
    assert path == "/v2/namespaces/atlas/repositories?page_size=100&page=2"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"results": null, "next": null}',
        b'{"results": [{"name": 1}], "next": null}',
        b'{"results": [{}], "next": null}',
        b'{"results": []}',
    ],
)
def test_what_is_no_list_of_docker_hub_s_is_refused(body: bytes) -> None:
    with pytest.raises(RegistryProtocolError, match=r"^s: "):
        parse_namespace(body, "atlas", "s")


def test_no_namespace_leads_elsewhere() -> None:
    for name in ("..", "a?b", "a/../b", "A", ""):
        with pytest.raises(InvalidReference):
            namespace_path(name, 1)


def test_docker_hub_is_asked_at_its_api_and_its_token_server() -> None:
    hub = RegistryAccess("docker.io")
    assert hub.api_host == "registry-1.docker.io"
    assert hub.trusted_token_hosts == ("auth.docker.io",)
    asked: list[tuple[str, int]] = []

    def look_up(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    with (
        RegistryClient({}, internal_hosts=frozenset(), look_up=look_up) as client,
        pytest.raises(RefusedAddress),
    ):
        client.resolve(Reference.parse("alpine"))
    assert asked == [("registry-1.docker.io", 443)]
