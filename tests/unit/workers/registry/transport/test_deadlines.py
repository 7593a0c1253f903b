"""A registry that sends a byte now and then is given up, wherever the byte belongs."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.registries.certificates import ServerCertificate
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.one_image import IMAGE, NAME, open_client
from workers.reference import Reference
from workers.registry import (
    RegistryAccess,
    RegistryClient,
    RegistryUnavailable,
    Timeouts,
)
from workers.registry.transport.addresses import AddressGuard
from workers.registry.transport.deadlines import time_left, within

# Each byte comes long before a stall would be noticed.
PAUSE = 0.02
HURRIED = Timeouts(
    connect_seconds=5,
    head_seconds=0.25,
    stall_seconds=0.25,
    answer_seconds=60,
    request_seconds=60,
)
SLOW = pytest.raises(RegistryUnavailable, match="does not answer in time")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as opened:
        opened.hold_image(NAME, "v1", IMAGE)
        yield opened


@contextmanager
def asked(
    registry: FakeRegistry, timeouts: Timeouts = HURRIED
) -> Iterator[tuple[RegistryClient, Reference]]:
    with open_client(registry, timeouts=timeouts) as client:
        yield client, Reference.parse(f"{registry.host}/{NAME}:v1")


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_headers_that_drip(registry: FakeRegistry, method: str) -> None:
    registry.drip_head(method, "/manifests/", pause=PAUSE)
    with asked(registry) as (client, reference), SLOW:
        client.resolve(reference)
        client.manifest(reference)


@pytest.mark.slow
def test_headers_of_a_blob_that_drip(registry: FakeRegistry) -> None:
    registry.drip_head("GET", "/blobs/", pause=PAUSE)
    config = IMAGE.config
    with asked(registry) as (client, reference), SLOW:
        client.blob(reference, IMAGE.config_digest, len(config)).__enter__()


def test_headers_under_tls_that_drip(certificate: ServerCertificate) -> None:
    with FakeRegistry(tls=certificate) as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        registry.drip_head("HEAD", "/manifests/", pause=PAUSE)
        authority = certificate.authority
        with (
            RegistryClient(
                {registry.host: RegistryAccess(registry.host, ca_file=authority)},
                internal_hosts=frozenset({registry.host}),
                timeouts=HURRIED,
            ) as client,
            SLOW,
        ):
            client.resolve(Reference.parse(f"{registry.host}/{NAME}:v1"))


def test_lines_between_chunks_that_drip(registry: FakeRegistry) -> None:
    registry.drip_chunk_lines("/manifests/", pause=PAUSE)
    with asked(registry) as (client, reference), SLOW:
        client.manifest(reference)


def test_a_token_servers_headers_that_drip(registry: FakeRegistry) -> None:
    registry.tokens_for_all = True
    registry.drip_head("GET", "/token", pause=PAUSE)
    with asked(registry) as (client, reference), SLOW:
        client.resolve(reference)


def test_interim_answers_without_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"

        def go_on() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    while True:
                        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
                except OSError:
                    return

        thread = threading.Thread(target=go_on)
        thread.start()
        with (
            RegistryClient(
                {host: RegistryAccess(host, plain_http=True)},
                internal_hosts=frozenset({host}),
                timeouts=HURRIED,
            ) as client,
            SLOW,
        ):
            client.resolve(Reference.parse(f"{host}/{NAME}:v1"))
        thread.join()


def test_redirects_each_of_which_comes_in_time(registry: FakeRegistry) -> None:
    registry.redirect("/manifests/", f"{registry.url}", method="HEAD", times=5)
    registry.drip_head("HEAD", "/manifests/", pause=0.002)
    patient = Timeouts(head_seconds=5, request_seconds=0.2)
    with asked(registry, patient) as (client, reference), SLOW:
        client.resolve(reference)


def test_one_address_after_another_that_does_not_answer() -> None:
    tried: list[str] = []

    def look_up(_host: str, _port: int) -> list[str]:
        tried.append("looked up")
        return ["127.0.0.1"] * 1000

    guard = AddressGuard(frozenset({("registry.example", 1)}), look_up=look_up)
    with within(0), pytest.raises(OSError, match="too slowly"):
        guard.connect("registry.example", 1, 10)
    assert tried


def test_what_was_said_around_holds_within() -> None:
    assert time_left(7) == 7
    with within(5):
        with within(60):
            assert time_left(7) <= 5
        with within(0.001):
            time.sleep(0.002)
            with pytest.raises(TimeoutError):
                time_left(7)
        assert 4 < time_left(7) <= 5
    assert time_left(7) == 7


def test_what_one_thread_said_holds_for_no_other() -> None:
    found: list[float] = []
    with within(0.001):
        other = threading.Thread(target=lambda: found.append(time_left(7)))
        other.start()
        other.join()
    assert found == [7]
