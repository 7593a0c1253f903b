"""The repository is the truth of what is live: the ledger is rebuilt from it."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import FQRN, Workshop
from tests.support.harness.ledger import D1, D2, Bench, bench_on
from tests.support.harness.redis_server import RedisServer
from tests.support.images.oci import tar_of
from webhook.cli import main
from workers.cvmfs import PutFile, PutLink, RemovePath
from workers.formats.paths import image_path, metadata_path, reference_at
from workers.ledger import Change, Outcome, Published, Rebuilder, State
from workers.reference import Reference

NAME = "registry.example.org/atlas/analysis:v1"
OTHER = "registry.example.org/atlas/analysis:v2"
PATH = "/registry.example.org/atlas/analysis:v1"
PLACES = {"flat": PATH}
FIRST = [tar_of({"motd": b"first"})]
SECOND = [tar_of({"motd": b"second"})]


@pytest.fixture
def bench(server: RedisServer) -> Iterator[Bench]:
    with bench_on(server) as made:
        yield made


def rebuild(bench: Bench, revision: int, **digests: str) -> dict[str, Change]:
    """Rebuild from a repository with images of these digests, by the tag's name."""
    images = {
        f"registry.example.org/atlas/analysis:{tag}": Published(
            digest,
            {"flat": f"/registry.example.org/atlas/analysis:{tag}"},
            bench.clock() - 60,
        )
        for tag, digest in digests.items()
    }
    rebuilder = Rebuilder(bench.connection, clock=bench.clock)
    return dict(rebuilder.rebuild(FQRN, revision, images))


def command(shop: Workshop, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--config", str(shop.config)])


def test_an_empty_ledger_learns_what_is_live(bench: Bench) -> None:
    assert rebuild(bench, 7, v1=D1) == {NAME: Change.LIVE}
    image = bench.image()
    assert (image.state, image.digest, image.live_digest) == (State.LIVE, D1, D1)
    assert (image.repository, image.revision, image.path) == (FQRN, 7, PATH)
    assert image.since == bench.clock() - 60
    assert (image.requested, image.done) == (0, 0)
    assert bench.ledger.counts()[State.LIVE] == 1
    assert [event.state for event in bench.ledger.events()] == [State.LIVE]


def test_doing_it_again_changes_nothing(bench: Bench) -> None:
    rebuild(bench, 7, v1=D1)
    before = bench.image(), bench.ledger.events()
    bench.clock.passes(100)
    again = {NAME: Published(D1, PLACES, 0.0)}
    rebuilder = Rebuilder(bench.connection, clock=bench.clock)
    assert dict(rebuilder.rebuild(FQRN, 8, again)) == {NAME: Change.SAME}
    assert (bench.image(), bench.ledger.events()) == before


def test_what_the_ledger_knows_already_stays_with_its_revision(bench: Bench) -> None:
    bench.make_live()
    before = bench.image()
    assert rebuild(bench, 9, v1=D1) == {NAME: Change.SAME}
    assert bench.image() == before


def test_what_is_there_no_more_is_not_live(bench: Bench) -> None:
    bench.make_live()
    assert rebuild(bench, 9) == {NAME: Change.GONE}
    image = bench.image()
    assert image.state is State.REMOVED
    assert (image.live_digest, image.revision, image.path) == (None, None, None)
    assert "revision 9 of unpacked.example.org does not have it" in (image.reason or "")
    before = bench.ledger.events()
    assert rebuild(bench, 10) == {}
    assert bench.ledger.events() == before
    # Pushed again, it goes live as any other.
    bench.make_live()
    assert bench.image().state is State.LIVE


def test_what_is_older_than_the_registry_s_is_not_called_live(bench: Bench) -> None:
    bench.make_live(D2)
    assert rebuild(bench, 9, v1=D1) == {NAME: Change.OTHER}
    image = bench.image()
    assert (image.state, image.digest, image.live_digest) == (State.REMOVED, D2, D1)
    assert image.revision == 9
    assert D1[:19] in (image.reason or "")
    assert rebuild(bench, 10, v1=D2) == {NAME: Change.LIVE}
    assert bench.image().state is State.LIVE
    assert bench.image().reason is None


def test_work_that_waits_is_kept(bench: Bench) -> None:
    accepted = bench.push(D2)
    rebuild(bench, 9, v1=D1)
    image = bench.image()
    assert (image.state, image.live_digest) == (State.QUEUED, D1)
    assert (image.requested, image.done) == (accepted.number, 0)
    lease = bench.begin()
    assert lease.hint is not None
    assert lease.hint.digest == D2
    bench.publish(lease, D2, revision=10)
    assert bench.image().state is State.LIVE


def test_what_waits_and_is_gone_is_shown_as_waiting(bench: Bench) -> None:
    bench.make_live()
    bench.push(D1)  # its hint says that it is live, so it is shown so
    assert bench.image().state is State.LIVE
    assert rebuild(bench, 9)[NAME] is Change.GONE
    assert bench.image().state is State.QUEUED
    assert bench.image().requested > bench.image().done


def test_a_run_under_way_ends_as_it_would_have(bench: Bench) -> None:
    bench.make_live()
    bench.push(D2)
    lease = bench.begin()
    bench.ledger.stage(lease, State.CONVERTING, digest=D2)
    rebuild(bench, 9)
    assert bench.image().state is State.CONVERTING
    assert bench.ledger.keep_alive(lease)
    bench.ledger.finish(
        lease, Outcome.PUBLISHED, digest=D2, revision=10, repository=FQRN, places=PLACES
    )
    image = bench.image()
    assert (image.state, image.live_digest, image.revision) == (State.LIVE, D2, 10)


def test_what_was_published_meanwhile_is_not_taken_back(bench: Bench) -> None:
    bench.push(D2)
    bench.publish(bench.begin(), D2, revision=12)
    before = bench.image()
    assert rebuild(bench, 11, v1=D1) == {NAME: Change.NEWER}
    assert rebuild(bench, 11) == {NAME: Change.NEWER}
    assert bench.image() == before


def test_a_refused_or_failed_image_stays_so_while_nothing_is_there(
    bench: Bench,
) -> None:
    bench.refuse(OTHER)
    assert rebuild(bench, 9) == {}
    assert bench.image(OTHER).state is State.REFUSED
    assert rebuild(bench, 9, v2=D1) == {OTHER: Change.LIVE}
    assert bench.image(OTHER).state is State.LIVE


def test_the_first_of_two_repositories_keeps_an_image(bench: Bench) -> None:
    rebuild(bench, 9, v1=D1)
    before = bench.image()
    rebuilder = Rebuilder(bench.connection, clock=bench.clock)
    images = {NAME: Published(D2, PLACES, 1.0)}
    said = dict(rebuilder.rebuild("other.example.org", 90, images))
    assert said == {NAME: Change.ELSEWHERE}
    assert dict(rebuilder.rebuild("other.example.org", 91, {})) == {}
    assert bench.image() == before


@pytest.mark.parametrize(
    "text",
    [
        "docker.io/library/alpine:3",
        "registry.example.org/a/b/c:v1.2",
        "localhost:5000/a/b:latest",
        f"registry.example.org/a/b@{D1}",
    ],
)
def test_a_link_s_path_says_which_image_it_is(text: str) -> None:
    reference = Reference.parse(text)
    assert reference_at(image_path(reference)) == reference


@pytest.mark.parametrize(
    "path", [b"", b"/", b"/a", b"/a/b", b"/A/B:c", b"/a.b/\xff:c", b"/docker.io/a/b:c"]
)
def test_other_paths_are_no_image_s(path: bytes) -> None:
    assert reference_at(path) is None


def test_after_redis_lost_everything_status_shows_all_again(shop: Workshop) -> None:
    shop.registry.push_image("atlas/one", "1", FIRST)
    shop.registry.push_image("atlas/two", "2", FIRST)
    shop.publish("atlas/one:1")
    shop.allow(formats="[podman]")  # which no link leads to
    shop.publish("atlas/two:2")
    before = {name: shop.image(name) for name in ("atlas/one:1", "atlas/two:2")}
    shop.services.front.connection.flushall()
    assert shop.ledger.counts()[State.LIVE] == 0
    result = command(shop, "ledger", "rebuild")
    assert result.exit_code == 0, result.output
    assert f"{FQRN}: revision 3, 2 images shown anew, 0 as before" in result.output
    for name, was in before.items():
        now = shop.image(name)
        assert now.state is State.LIVE
        assert (now.live_digest, now.places) == (was.live_digest, was.places)
        assert abs(now.since - was.since) < 60
    shown = json.loads(command(shop, "status", "--json").stdout)
    assert {image["state"] for image in shown} == {"live"}
    again = json.loads(command(shop, "ledger", "rebuild", FQRN, "--json").stdout)
    assert set(again[0]["images"].values()) == {"same"}
    # And what is pushed again is found to be there.
    shop.want("atlas/two:2")
    assert shop.run("atlas/two:2").outcome is Outcome.UNCHANGED


def test_a_rollback_tells_the_ledger_what_is_not_there_any_more(
    shop: Workshop,
) -> None:
    shop.registry.push_image("atlas/stays", "1", FIRST)
    shop.registry.push_image("atlas/moves", "1", FIRST)
    shop.publish("atlas/stays:1")
    first = shop.publish("atlas/moves:1")
    good = str(shop.revision)
    shop.registry.push_image("atlas/moves", "1", SECOND)
    shop.publish("atlas/moves:1")
    shop.registry.push_image("atlas/comes", "1", SECOND)
    shop.publish("atlas/comes:1")

    result = command(shop, "repository", "rollback", FQRN, good)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines == [
        f"{FQRN}: revision {shop.revision} is {good} again",
        f"  {shop.reference('atlas/comes:1')}: not there any more",
        f"  {shop.reference('atlas/moves:1')}: there, but not what its registry has",
        f"{FQRN}: revision {shop.revision}, 2 images shown anew, 1 as before",
    ]
    assert shop.image("atlas/stays:1").state is State.LIVE
    assert shop.image("atlas/comes:1").state is State.REMOVED
    moved = shop.image("atlas/moves:1")
    assert (moved.state, moved.live_digest) == (State.REMOVED, first.live_digest)
    assert shop.publish("atlas/moves:1").state is State.LIVE
    assert shop.file("atlas/moves:1", "motd") == b"second"


def test_what_is_not_understood_is_told_and_not_called_live(shop: Workshop) -> None:
    shop.registry.push_image("atlas/one", "1", FIRST)
    shop.registry.push_image("atlas/two", "1", FIRST)
    shop.publish("atlas/one:1")
    shop.publish("atlas/two:1")
    repository = shop.repository
    one, two = (
        Reference.parse(shop.reference(f"atlas/{name}:1")) for name in ("one", "two")
    )
    broken = repository.sink.put_bytes(b'{"digest": "none"}')
    repository.commit(
        [
            PutFile(metadata_path(one) + b"/cvmfs-webhook.json", broken),
            RemovePath(image_path(two)),
            PutLink(image_path(two), b"../nowhere"),
        ],
        now=repository.head().timestamp + 1,
    )
    result = command(shop, "ledger", "rebuild")
    assert result.exit_code == 0
    assert f"{image_path(one).decode()}: not understood" in result.stderr
    assert shop.image("atlas/one:1").state is State.REMOVED
    assert shop.image("atlas/two:1").state is State.REMOVED
