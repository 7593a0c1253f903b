"""The repository is the truth of what is live: the ledger is rebuilt from it."""

from click.testing import CliRunner, Result

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.harness.ledger import D1, D2, LedgerDriver
from tests.support.images.oci import tar_of
from webhook.cli import main
from workers.ledger import (
    Change,
    LiveImage,
    Outcome,
    Published,
    Rebuilder,
    RunResult,
    State,
)

NAME = "registry.example.org/atlas/analysis:v1"
OTHER = "registry.example.org/atlas/analysis:v2"
PATH = "/registry.example.org/atlas/analysis:v1"
PLACES = {"flat": PATH}
FIRST = [tar_of({"motd": b"first"})]
SECOND = [tar_of({"motd": b"second"})]


def rebuild(driver: LedgerDriver, revision: int, **digests: str) -> dict[str, Change]:
    """Rebuild from a repository with images of these digests, by the tag's name."""
    images = {
        f"registry.example.org/atlas/analysis:{tag}": Published(
            digest,
            LiveImage({"flat": f"/registry.example.org/atlas/analysis:{tag}"}),
            driver.clock() - 60,
        )
        for tag, digest in digests.items()
    }
    rebuilder = Rebuilder(driver.connection, clock=driver.clock)
    return dict(rebuilder.rebuild(FQRN, revision, images))


def command(runner: JobRunner, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--config", str(runner.config)])


def test_an_empty_ledger_learns_what_is_live(driver: LedgerDriver) -> None:
    assert rebuild(driver, 7, v1=D1) == {NAME: Change.LIVE}
    image = driver.image()
    assert (image.state, image.digest, image.live_digest) == (State.LIVE, D1, D1)
    assert (image.repository, image.revision, image.places) == (FQRN, 7, PLACES)
    assert image.since == driver.clock() - 60
    assert (image.requested, image.done) == (0, 0)
    assert driver.ledger.counts()[State.LIVE] == 1
    assert [event.state for event in driver.ledger.events()] == [State.LIVE]


def test_an_empty_ledger_learns_all_that_the_run_knew_of_what_is_live(
    runner: JobRunner,
) -> None:
    image = runner.registry.push_image("atlas/analysis", "1", FIRST)
    before = runner.publish("atlas/analysis:1")
    runner.services.front.connection.flushall()
    assert command(runner, "ledger", "rebuild").exit_code == 0
    after = runner.image("atlas/analysis:1")
    assert after.size == sum(len(layer.blob) for layer in image.layers)
    assert (after.places, after.size) == (before.places, before.size)
    assert (after.repository, after.revision) == (before.repository, before.revision)


def test_a_size_that_the_repository_does_not_say_stays_known(
    driver: LedgerDriver,
) -> None:
    rebuilder = Rebuilder(driver.connection, clock=driver.clock)
    for size in (7, None):
        images = {NAME: Published(D1, LiveImage(PLACES, size), 1.0)}
        dict(rebuilder.rebuild(FQRN, 7, images))
        assert driver.image().size == 7
    dict(rebuilder.rebuild(FQRN, 8, {NAME: Published(D2, LiveImage(PLACES), 1.0)}))
    assert driver.image().size is None


def test_doing_it_again_changes_nothing(driver: LedgerDriver) -> None:
    rebuild(driver, 7, v1=D1)
    before = driver.image(), driver.ledger.events()
    driver.clock.passes(100)
    again = {NAME: Published(D1, LiveImage(PLACES), 0.0)}
    rebuilder = Rebuilder(driver.connection, clock=driver.clock)
    assert dict(rebuilder.rebuild(FQRN, 8, again)) == {NAME: Change.SAME}
    assert (driver.image(), driver.ledger.events()) == before


def test_what_the_ledger_knows_already_stays_with_its_revision(
    driver: LedgerDriver,
) -> None:
    driver.make_live()
    before = driver.image()
    assert rebuild(driver, 9, v1=D1) == {NAME: Change.SAME}
    assert driver.image() == before


def test_what_is_there_no_more_is_not_live(driver: LedgerDriver) -> None:
    driver.make_live()
    assert rebuild(driver, 9) == {NAME: Change.GONE}
    image = driver.image()
    assert image.state is State.REMOVED
    assert (image.live_digest, image.revision, image.places) == (None, None, {})
    assert "revision 9 of unpacked.example.org does not have it" in (image.reason or "")
    before = driver.ledger.events()
    assert rebuild(driver, 10) == {}
    assert driver.ledger.events() == before
    # Pushed again, it goes live as any other.
    driver.make_live()
    assert driver.image().state is State.LIVE


def test_what_is_older_than_the_registry_s_is_not_called_live(
    driver: LedgerDriver,
) -> None:
    driver.make_live(D2)
    assert rebuild(driver, 9, v1=D1) == {NAME: Change.OTHER}
    image = driver.image()
    assert (image.state, image.digest, image.live_digest) == (State.REMOVED, D2, D1)
    assert image.revision == 9
    assert D1[:19] in (image.reason or "")
    assert rebuild(driver, 10, v1=D2) == {NAME: Change.LIVE}
    assert driver.image().state is State.LIVE
    assert driver.image().reason is None


def test_work_that_waits_is_kept(driver: LedgerDriver) -> None:
    accepted = driver.push(D2)
    rebuild(driver, 9, v1=D1)
    image = driver.image()
    assert (image.state, image.live_digest) == (State.QUEUED, D1)
    assert (image.requested, image.done) == (accepted.number, 0)
    lease = driver.begin()
    assert lease.hint is not None
    assert lease.hint.digest == D2
    driver.publish(lease, D2, revision=10)
    assert driver.image().state is State.LIVE


def test_what_waits_and_is_gone_is_shown_as_waiting(driver: LedgerDriver) -> None:
    driver.make_live()
    driver.push(D1)  # its hint says that it is live, so it is shown so
    assert driver.image().state is State.LIVE
    assert rebuild(driver, 9)[NAME] is Change.GONE
    assert driver.image().state is State.QUEUED
    assert driver.image().requested > driver.image().done


def test_a_run_under_way_ends_as_it_would_have(driver: LedgerDriver) -> None:
    driver.make_live()
    driver.push(D2)
    lease = driver.begin()
    driver.ledger.stage(lease, State.CONVERTING, digest=D2)
    rebuild(driver, 9)
    assert driver.image().state is State.CONVERTING
    assert driver.ledger.keep_alive(lease)
    driver.ledger.finish(
        lease,
        RunResult(
            Outcome.PUBLISHED,
            digest=D2,
            revision=10,
            repository=FQRN,
            live=LiveImage(PLACES),
        ),
    )
    image = driver.image()
    assert (image.state, image.live_digest, image.revision) == (State.LIVE, D2, 10)


def test_what_was_published_meanwhile_is_not_taken_back(driver: LedgerDriver) -> None:
    driver.push(D2)
    driver.publish(driver.begin(), D2, revision=12)
    before = driver.image()
    assert rebuild(driver, 11, v1=D1) == {NAME: Change.NEWER}
    assert rebuild(driver, 11) == {NAME: Change.NEWER}
    assert driver.image() == before


def test_a_refused_or_failed_image_stays_so_while_nothing_is_there(
    driver: LedgerDriver,
) -> None:
    driver.refuse(OTHER)
    assert rebuild(driver, 9) == {}
    assert driver.image(OTHER).state is State.REFUSED
    assert rebuild(driver, 9, v2=D1) == {OTHER: Change.LIVE}
    assert driver.image(OTHER).state is State.LIVE


def test_the_first_of_two_repositories_keeps_an_image(driver: LedgerDriver) -> None:
    rebuild(driver, 9, v1=D1)
    before = driver.image()
    rebuilder = Rebuilder(driver.connection, clock=driver.clock)
    images = {NAME: Published(D2, LiveImage(PLACES), 1.0)}
    said = dict(rebuilder.rebuild("other.example.org", 90, images))
    assert said == {NAME: Change.ELSEWHERE}
    assert dict(rebuilder.rebuild("other.example.org", 91, {})) == {}
    assert driver.image() == before


def test_a_rollback_tells_the_ledger_what_is_not_there_any_more(
    runner: JobRunner,
) -> None:
    runner.registry.push_image("atlas/stays", "1", FIRST)
    runner.registry.push_image("atlas/moves", "1", FIRST)
    runner.publish("atlas/stays:1")
    first = runner.publish("atlas/moves:1")
    good = str(runner.revision)
    runner.registry.push_image("atlas/moves", "1", SECOND)
    runner.publish("atlas/moves:1")
    runner.registry.push_image("atlas/comes", "1", SECOND)
    runner.publish("atlas/comes:1")

    result = command(runner, "repository", "rollback", FQRN, good)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines == [
        f"{FQRN}: revision {runner.revision} is {good} again",
        f"  {runner.reference('atlas/comes:1')}: not there any more",
        f"  {runner.reference('atlas/moves:1')}: there, but not what its registry has",
        f"{FQRN}: revision {runner.revision}, 2 images shown anew, 1 as before",
    ]
    assert runner.image("atlas/stays:1").state is State.LIVE
    assert runner.image("atlas/comes:1").state is State.REMOVED
    moved = runner.image("atlas/moves:1")
    assert (moved.state, moved.live_digest) == (State.REMOVED, first.live_digest)
    assert runner.publish("atlas/moves:1").state is State.LIVE
    assert runner.file("atlas/moves:1", "motd") == b"second"
