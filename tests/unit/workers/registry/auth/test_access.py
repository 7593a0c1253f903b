"""Passwords go where they belong, and show nowhere."""

import json
from pathlib import Path

import pytest

from tests.support.images.oci import digest_of
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from tests.support.registries.one_image import IMAGE, NAME, open_client
from workers.reference import Reference
from workers.registry import (
    AccessDenied,
    Credentials,
    RegistryAccess,
    RegistryClient,
)


def test_passwords_and_tokens_are_in_no_message_and_no_repr(
    registry: FakeRegistry, reference: Reference
) -> None:
    registry.make_private(NAME)

    def echo(path: str, reply: Reply) -> Reply:
        sent = registry.seen()[-1].headers.get("Authorization", "")
        token = sent.partition(" ")[2]
        return Reply(403, {}, json.dumps({"errors": [{"message": token}]}).encode())

    registry.spoil("GET", "/manifests/", echo)
    with open_client(registry, with_password=True) as client:
        client.resolve(reference)
        with pytest.raises(AccessDenied) as refusal:
            client.manifest(reference)
        shown = [str(refusal.value), repr(refusal.value)]
        shown += [repr(v) for v in vars(client).values()]
        shown += [repr(vars(client._sessions)), repr(vars(client._sessions._tokens))]
    (token,) = registry._tokens
    assert "(…)" in shown[0]
    for text in shown:
        assert token not in text
        assert "s3cret-password" not in text


def _pull(client: RegistryClient, host: str) -> None:
    reference = Reference.parse(f"{host}/{NAME}:v1")
    assert client.manifest(reference).raw == IMAGE.manifest
    layer = IMAGE.layers[0].blob
    with client.blob(reference, digest_of(layer), len(layer)) as stream:
        assert stream.read() == layer


def test_a_password_with_odd_letters_is_sent_as_utf_8(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        registry.credentials = ("röbot", "pä:ss wörd")
        registry.make_private(NAME)
        user, password = registry.credentials
        access = RegistryAccess(
            registry.host, plain_http=True, username=user, password=password
        )
        hosts = frozenset({registry.host})
        with RegistryClient({registry.host: access}, internal_hosts=hosts) as client:
            _pull(client, registry.host)


def test_a_password_that_is_renewed_is_the_one_that_is_shown() -> None:
    passwords = iter(["first", "second"])
    access = RegistryAccess(
        "r.example", username="robot", read_password=lambda: next(passwords)
    )
    assert access.credentials == Credentials("robot", "first")
    assert access.credentials == Credentials("robot", "second")
