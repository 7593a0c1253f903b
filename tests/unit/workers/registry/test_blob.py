import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.images.oci import digest_of
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.misbehaving_server import Reply
from workers.reference import InvalidReference, Reference
from workers.registry import (
    AccessDenied,
    BlobStream,
    DigestMismatch,
    ImageNotFound,
    Patience,
    RegistryAccess,
    RegistryClient,
    RegistryProtocolError,
    RegistryUnavailable,
    Timeouts,
)
from workers.registry.blob import _Pace

NAME = "atlas/analysis"
BIG = random.Random(1).randbytes(3_000_000)  # no multiple of any block
SMALL = b"a few bytes"
IMPATIENT = Timeouts(connect_seconds=5, stall_seconds=0.5, answer_seconds=5)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.push_blob(NAME, BIG)
        registry.push_blob(NAME, SMALL)
        registry.push_blob(NAME, b"")
        yield registry


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(registry: FakeRegistry, pauses: list[float]) -> Iterator[RegistryClient]:
    with _client(registry, pauses.append) as client:
        yield client


def _client(
    registry: FakeRegistry,
    sleep: Callable[[float], None],
    *,
    timeouts: Timeouts | None = None,
    patience: Patience | None = None,
    with_password: bool = False,
) -> RegistryClient:
    username, password = registry.credentials if with_password else (None, None)
    access = RegistryAccess(
        registry.host, plain_http=True, username=username, password=password
    )
    return RegistryClient(
        {registry.host: access},
        internal_hosts=frozenset({registry.host}),
        timeouts=timeouts,
        patience=patience,
        sleep=sleep,
    )


def _reference(registry: FakeRegistry) -> Reference:
    return Reference.parse(f"{registry.host}/{NAME}")


def _read(client: RegistryClient, registry: FakeRegistry, data: bytes = BIG) -> bytes:
    """Read what should be ``data``."""
    digest, size = digest_of(data), len(data)
    with client.blob(_reference(registry), digest, size) as stream:
        return b"".join(iter(lambda: stream.read(1 << 20), b""))


@pytest.mark.parametrize("data", [BIG, SMALL, b""], ids=["big", "small", "empty"])
def test_a_blob_arrives_as_it_is(
    client: RegistryClient, registry: FakeRegistry, data: bytes
) -> None:
    assert _read(client, registry, data) == data
    (asked,) = registry.seen()
    assert asked.headers["Accept-Encoding"] == "identity"
    assert asked.headers["User-Agent"].startswith("cvmfs-webhook/")


def test_blocks_are_large_but_never_larger_than_asked_for(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.drip("/blobs/", block=10_000, pause=0)
    digest, size = digest_of(BIG), len(BIG)
    with client.blob(_reference(registry), digest, size) as stream:
        assert stream.readable()
        assert stream.read(0) == b""
        assert len(stream.read(1)) == 1
        assert stream.received == 1
        assert len(stream.read(1000)) == 1000
        assert 1 << 18 <= len(stream.read(1 << 30)) <= 1 << 20
        assert len(stream.read()) > 1 << 20
        assert stream.read() == b""


def test_other_bytes_of_the_right_length_are_found_at_the_end(
    client: RegistryClient, registry: FakeRegistry, pauses: list[float]
) -> None:
    registry.corrupt("/blobs/")
    got: list[int] = []
    with (
        pytest.raises(DigestMismatch, match=digest_of(BIG)),
        client.blob(_reference(registry), digest_of(BIG), len(BIG)) as stream,
    ):
        got.extend(iter(lambda: len(stream.read(1 << 18)), 0))
    # The last bytes were never handed out, so nobody takes the rest for the whole.
    assert sum(got) < len(BIG)
    assert pauses == []


def test_a_corrupt_blob_is_refused_even_if_nobody_reads_its_end(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.corrupt("/blobs/")
    digest, size = digest_of(BIG), len(BIG)
    with (
        pytest.raises(DigestMismatch),
        client.blob(_reference(registry), digest, size) as stream,
    ):
        stream.read(10)


def test_an_empty_blob_of_another_digest_is_refused(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.push_blob(NAME, b"", digest_of(SMALL))
    with (
        pytest.raises(DigestMismatch),
        client.blob(_reference(registry), digest_of(SMALL), 0),
    ):
        pass


@pytest.mark.parametrize("change", [-1, 1])
def test_another_length_than_promised_is_refused_before_a_byte_is_read(
    client: RegistryClient, registry: FakeRegistry, change: int
) -> None:
    promised = len(BIG) + change
    with (
        pytest.raises(DigestMismatch, match=rf"has {len(BIG)} bytes.*{promised}"),
        client.blob(_reference(registry), digest_of(BIG), promised),
    ):
        pytest.fail("the stream was handed out")


@pytest.mark.parametrize("change", [-1, 1])
def test_another_length_than_promised_is_found_without_content_length_too(
    registry: FakeRegistry, change: int
) -> None:
    registry.chunk("/blobs/")
    patience = Patience(breaks=1)
    with (
        _client(registry, lambda _: None, patience=patience) as client,
        pytest.raises((DigestMismatch, RegistryUnavailable)),
        client.blob(_reference(registry), digest_of(SMALL), len(SMALL) + change) as s,
    ):
        s.read()


def test_a_block_left_by_an_exception_reads_no_further(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.corrupt("/blobs/")
    digest, size = digest_of(BIG), len(BIG)
    with (
        pytest.raises(KeyError),
        client.blob(_reference(registry), digest, size) as stream,
    ):
        raise KeyError
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_a_cut_connection_is_continued_where_it_broke(
    client: RegistryClient, registry: FakeRegistry, pauses: list[float]
) -> None:
    registry.cut("/blobs/", after=1_000_000, times=2)
    assert _read(client, registry) == BIG
    ranges = [asked.headers.get("Range") for asked in registry.seen()]
    assert ranges == [None, "bytes=1000000-", "bytes=2000000-"]
    assert len(pauses) == 2


def test_a_cut_without_content_length_is_noticed(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.chunk("/blobs/", times=1)
    registry.cut("/blobs/", after=1000, times=1)
    assert _read(client, registry) == BIG


def test_a_reset_connection_is_continued(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.cut("/blobs/", after=5000, times=1)
    reset = Reply(is_reset=True)
    registry.spoil("GET", "/blobs/", lambda *_: reset, times=3, statuses={206})
    assert _read(client, registry) == BIG


def test_a_registry_that_ignores_ranges_is_read_again_from_the_start(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.ignore_ranges()
    registry.cut("/blobs/", after=2_000_000, times=1)
    assert _read(client, registry) == BIG
    assert [asked.status for asked in registry.seen()] == [200, 200]


def test_a_cut_while_reading_again_from_the_start_is_no_progress(
    registry: FakeRegistry,
) -> None:
    registry.ignore_ranges()
    registry.cut("/blobs/", after=2_000_000)
    pauses: list[float] = []
    patience = Patience(breaks=3)
    with (
        _client(registry, pauses.append, patience=patience) as client,
        pytest.raises(RegistryUnavailable),
    ):
        _read(client, registry)
    assert len(pauses) == 3


@pytest.mark.parametrize(
    "content_range",
    [
        None,
        "",
        "bytes 0-2999999/3000000",
        "bytes 999999-2999999/3000000",
        "bytes 1000000-2999999/3000001",
        "bytes */3000000",
        "items 1000000-2999999/3000000",
    ],
)
def test_a_part_that_is_not_the_one_asked_for_is_not_used(
    client: RegistryClient, registry: FakeRegistry, content_range: str | None
) -> None:
    registry.cut("/blobs/", after=1_000_000, times=1)
    registry.change_headers("GET", "/blobs/", {"Content-Range": content_range})
    assert _read(client, registry) == BIG
    assert [asked.status for asked in registry.seen()] == [200, 206, 200]


def test_a_part_of_unknown_total_is_used(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.cut("/blobs/", after=1_000_000, times=1)
    headers = {"Content-Range": "bytes 1000000-2999999/*"}
    registry.change_headers("GET", "/blobs/", headers)
    assert _read(client, registry) == BIG
    assert [asked.status for asked in registry.seen()] == [200, 206]


def test_a_registry_that_finds_the_range_unsatisfiable_is_read_again(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.cut("/blobs/", after=1_000_000, times=1)

    def unsatisfiable(_path: str, _reply: Reply) -> Reply:
        return Reply(416)

    registry.spoil("GET", "/blobs/", unsatisfiable, statuses={206})
    assert _read(client, registry) == BIG


def test_other_bytes_after_a_break_are_found_at_the_end(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.cut("/blobs/", after=1_000_000, times=1)

    def other(_path: str, reply: Reply) -> Reply:
        return Reply(206, reply.headers, bytes(len(reply.body)))

    registry.spoil("GET", "/blobs/", other, statuses={206})
    with pytest.raises(DigestMismatch):
        _read(client, registry)


@pytest.mark.slow
def test_a_silent_connection_is_given_up_and_made_anew(
    registry: FakeRegistry, pauses: list[float]
) -> None:
    registry.hang("GET", "/blobs/", times=1)
    with _client(registry, pauses.append, timeouts=IMPATIENT) as client:
        assert _read(client, registry) == BIG
    assert pauses


@pytest.mark.slow
def test_a_dripping_connection_is_given_up(
    registry: FakeRegistry, pauses: list[float]
) -> None:
    registry.drip("/blobs/", block=1, pause=0.02)
    patience = Patience(breaks=2)
    with (
        _client(
            registry, pauses.append, timeouts=IMPATIENT, patience=patience
        ) as client,
        pytest.raises(RegistryUnavailable, match="next to nothing"),
    ):
        _read(client, registry)
    assert len(pauses) == 2


def test_a_slow_reader_is_not_taken_for_a_slow_registry() -> None:
    now = 0.0
    pace = _Pace(30.0, lambda: now)
    for _ in range(100):
        with pace.waiting():
            now += 1
        assert not pace.is_stalled(1024)
        now += 1000  # the reader's time
    pace = _Pace(30.0, lambda: now)
    with pace.waiting():
        now += 31
    assert pace.is_stalled(1023)


def test_patience_ends_and_grows_between_connections(
    registry: FakeRegistry, pauses: list[float]
) -> None:
    registry.fail("GET", "/blobs/", status=503)
    with (
        _client(registry, pauses.append) as client,
        pytest.raises(RegistryUnavailable, match="answered 503"),
    ):
        _read(client, registry)
    assert len(pauses) == 4
    for n, pause in enumerate(pauses):
        assert 0.25 * 2**n <= pause <= 0.75 * 2**n


def test_progress_restores_patience(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    data = random.Random(2).randbytes(12_000_000)
    registry.push_blob(NAME, data)
    registry.cut("/blobs/", after=1_100_000, times=9)
    assert _read(client, registry, data) == data


def test_a_registry_that_asks_for_a_short_pause_gets_it(
    client: RegistryClient, registry: FakeRegistry, pauses: list[float]
) -> None:
    headers = {"Retry-After": "7"}
    registry.fail("GET", "/blobs/", status=429, times=2, headers=headers)
    assert _read(client, registry) == BIG
    assert pauses == [7.0, 7.0]


def test_a_registry_that_asks_for_a_long_pause_is_left_to_the_queue(
    client: RegistryClient, registry: FakeRegistry, pauses: list[float]
) -> None:
    registry.fail("GET", "/blobs/", status=429, headers={"Retry-After": "600"})
    with pytest.raises(RegistryUnavailable) as refusal:
        _read(client, registry)
    assert refusal.value.retry_after == 600.0
    assert pauses == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, ImageNotFound), (403, AccessDenied), (400, RegistryProtocolError)],
)
def test_a_refusal_is_not_asked_for_again(
    client: RegistryClient, registry: FakeRegistry, status: int, kind: type[Exception]
) -> None:
    registry.fail("GET", "/blobs/", status=status)
    with pytest.raises(kind, match=f"^blob {digest_of(BIG)} of 127"):
        _read(client, registry)
    assert len(registry.seen()) == 1


def test_a_blob_that_vanishes_after_a_break_ends_the_reading(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.cut("/blobs/", after=1_000_000, times=1)

    def gone(_path: str, _reply: Reply) -> Reply:
        return Reply(404)

    registry.spoil("GET", "/blobs/", gone, statuses={206})
    with pytest.raises(ImageNotFound):
        _read(client, registry)


def test_a_token_that_expires_during_a_blob_is_renewed(registry: FakeRegistry) -> None:
    registry.make_private(NAME)
    registry.cut("/blobs/", after=1_000_000, times=1)

    def pause(_seconds: float) -> None:
        registry.revoke_tokens()

    with _client(registry, pause, with_password=True) as client:
        assert _read(client, registry) == BIG
    assert len(registry.seen("GET", "^/token")) == 2


def test_a_digest_that_is_none_never_reaches_a_url(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    for digest in ("sha256:../../x", "md5:" + "0" * 32, ""):
        with (
            pytest.raises(InvalidReference),
            client.blob(_reference(registry), digest, 1),
        ):
            pass
    assert registry.seen() == []


def test_layers_are_read_side_by_side_over_kept_connections(
    registry: FakeRegistry,
) -> None:
    registry.tokens_for_all = True
    blobs = [random.Random(n).randbytes(700_000 + n) for n in range(12)]
    for blob in blobs:
        registry.push_blob(NAME, blob)
    with _client(registry, lambda _: None) as client, ThreadPoolExecutor(4) as pool:
        read = pool.map(lambda data: _read(client, registry, data), blobs)
        assert list(read) == blobs
        # Every thread may have met the challenge, and no two asked for it at once.
        assert len(registry.seen("GET", "^/token")) <= 4
        pools = client._sessions._transports[registry.host]._plain.poolmanager.pools
        (kept,) = (pools[key] for key in pools.keys())  # noqa: SIM118 - no iterator
        assert kept.num_connections <= 8


def test_a_closed_stream_tells_so(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    stream: BlobStream
    with client.blob(_reference(registry), digest_of(SMALL), len(SMALL)) as stream:
        assert stream.read() == SMALL
    assert stream.closed
    with pytest.raises(ValueError, match="closed"):
        stream.read()


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=25,
)
@given(
    cuts=st.lists(st.integers(0, 2_000_000), max_size=3),
    sizes=st.lists(st.integers(4096, 1 << 21), min_size=1, max_size=5),
    ignores_ranges=st.booleans(),
)
def test_whatever_breaks_the_bytes_are_right(
    registry: FakeRegistry,
    client: RegistryClient,
    cuts: list[int],
    sizes: list[int],
    ignores_ranges: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    registry.mend()
    if ignores_ranges:
        registry.ignore_ranges()
    remaining = iter(cuts)
    lock = threading.Lock()

    def cut(_path: str, reply: Reply) -> Reply:
        with lock:
            after = next(remaining, None)
        return Reply(reply.status, reply.headers, reply.body, cut=after)

    registry.spoil("GET", "/blobs/", cut)
    got: list[bytes] = []
    with client.blob(_reference(registry), digest_of(BIG), len(BIG)) as stream:
        while block := stream.read(sizes[len(got) % len(sizes)]):
            got.append(block)
    assert b"".join(got) == BIG
