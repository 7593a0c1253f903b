"""A storage that shows less than was published is noticed, and not built upon."""

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.harness.steering import NAME, publish, push
from tests.support.images.oci import tar_of
from tests.support.repositories.repository_builders import keys
from webhook.cli import main
from workers.care.head_watch import HeadWatch
from workers.care.heads import StorageIsEmpty, head_went_back
from workers.care.repository import (
    add_tag,
    collect_garbage,
    create_missing_repositories,
    create_repository,
    prune_repository,
    rebuild_ledger,
    remove_tag,
    roll_back,
)
from workers.config import Config, QueueConfig, Secret
from workers.cvmfs import HeadWentBack, InvalidKeys, PutFile, Repository, Retention
from workers.cvmfs.storage.storage import MANIFEST, REFLOG
from workers.ledger import KnownHeads, Outcome, RunRecord, State
from workers.wiring import open_publisher

FIRST = [tar_of({"etc/motd": b"first"})]
SECOND = [tar_of({"etc/motd": b"second"})]


@pytest.fixture
def config(runner: JobRunner) -> Config:
    return runner.services.config


@pytest.fixture
def storage(config: Config) -> Path:
    return Path(config.repositories[FQRN].storage.removeprefix("file://"))


def replace_folder(folder: Path, by: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(by, folder)


@pytest.fixture
def restored(runner: JobRunner, storage: Path, tmp_path: Path) -> Path:
    """Publish twice, and put the storage back as it was in between.

    Returns:
        The newer one.
    """
    publish(runner, FIRST)
    older, newer = tmp_path / "older", tmp_path / "newer"
    shutil.copytree(storage, older)
    publish(runner, SECOND)
    shutil.copytree(storage, newer)
    replace_folder(storage, older)
    return newer


def run_anew(runner: JobRunner, name: str = NAME) -> RunRecord:
    """Run a job as one does that has a process, and so a memory, of its own."""
    runner.want(name)
    front = runner.services.front
    publishers = {FQRN: open_publisher(runner.services.config, FQRN, front)}
    runner.services = dataclasses.replace(runner.services, publishers=publishers)
    return runner.run(name)


def command(runner: JobRunner, *words: str, said: str | None = None) -> Result:
    words = (*words, "--config", str(runner.config))
    return CliRunner().invoke(main, words, input=said)


# An older head.


def test_nothing_is_built_upon_an_older_head_until_the_newer_is_back(
    runner: JobRunner, restored: Path, storage: Path
) -> None:
    push(runner, FIRST, "atlas/other:1")
    run = run_anew(runner, "atlas/other:1")
    assert run.outcome is Outcome.FAILED
    assert "went back to revision 2, the ledger knows 3" in (run.reason or "")
    # It is nobody's fault who pushes images, and passes.
    assert run.next_try is not None
    assert runner.revision == 2
    replace_folder(storage, restored)
    assert run_anew(runner, "atlas/other:1").outcome is Outcome.PUBLISHED
    assert runner.revision == 4


TOOLS: Mapping[str, Callable[[Config, str], object]] = {
    "gc": partial(
        collect_garbage, retention=Retention(), dry_run=False, tell=lambda _: None
    ),
    "prune": partial(prune_repository, grace_seconds=0, dry_run=False),
    "tag": partial(add_tag, name="a", description=""),
    "untag": partial(remove_tag, name="a"),
    "rollback": partial(roll_back, target="1"),
    "rebuild": rebuild_ledger,
}


@pytest.mark.usefixtures("restored")
def test_nor_does_any_tool(config: Config, storage: Path) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in storage.rglob("*.*")}

    before = files()
    assert MANIFEST in {path.name for path in before}
    for work in TOOLS.values():
        with pytest.raises(HeadWentBack, match="ledger rebuild"):
            work(config, FQRN)
    assert files() == before


def test_another_revision_of_the_same_number_is_not_built_upon(
    runner: JobRunner, restored: Path, config: Config
) -> None:
    # As another machine does that shares the storage, and not the ledger.
    alone = runner.repository
    other = PutFile(b"/other", alone.sink.put_bytes(b"other"))
    alone.commit([other], now=int(time.time()))
    assert runner.revision == 3
    assert "not the one that the ledger knows" in (head_went_back(config, FQRN) or "")
    assert restored.exists()


@pytest.mark.usefixtures("restored")
def test_an_older_head_is_said_wherever_one_looks(
    runner: JobRunner, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    watch = HeadWatch(config, runner.services.front.connection)
    with caplog.at_level(logging.WARNING):
        watch.look()
    [said] = watch.warnings()
    assert said.startswith(f"nothing is published in {FQRN}: it went back to")
    assert "went back to revision 2" in caplog.text


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("given", [("--name", FQRN), ()])
def test_an_operator_who_names_it_lets_it_count(
    runner: JobRunner, given: tuple[str, ...]
) -> None:
    done = command(runner, "ledger", "rebuild", FQRN, *given, said=f"{FQRN}\n")
    assert done.exit_code == 0, done.output
    assert "went back to revision 2, the ledger knows 3" in done.output or given
    record = runner.image(NAME)
    assert record.revision == 2
    # The registry has the second.
    assert record.state is State.REMOVED
    assert run_anew(runner).outcome is Outcome.PUBLISHED
    assert runner.file(NAME, "etc/motd") == b"second"
    again = command(runner, "ledger", "rebuild", FQRN)
    assert again.exit_code == 0, again.output


@pytest.mark.usefixtures("restored")
def test_one_who_does_not_name_it_changes_nothing(runner: JobRunner) -> None:
    other = ("--name", "other.example.org")
    for given, said in (((), ""), ((), "yes\n"), (other, f"{FQRN}\n")):
        done = command(runner, "ledger", "rebuild", *given, said=said)
        assert done.exit_code == 1
        assert f"nothing was done: give --name {FQRN} to go on" in done.stderr
    assert runner.image(NAME).revision == 3
    assert head_went_back(runner.services.config, FQRN) is not None


@pytest.mark.parametrize("length", [0, 30])
def test_a_head_that_is_cut_short_is_tried_again(
    runner: JobRunner, storage: Path, length: int
) -> None:
    publish(runner, FIRST)
    file = storage / MANIFEST
    whole = file.read_bytes()
    file.write_bytes(whole[:length])
    push(runner, SECOND)
    run = run_anew(runner)
    assert (run.outcome, run.next_try is None) == (Outcome.FAILED, False)
    assert "see whether the storage is whole" in (run.reason or "")
    file.write_bytes(whole)
    assert run_anew(runner).outcome is Outcome.PUBLISHED


@pytest.mark.parametrize("length", [0, 30, 5000])
def test_a_reflog_that_is_cut_short_is_made_again(
    runner: JobRunner, storage: Path, length: int
) -> None:
    publish(runner, FIRST)
    file = storage / REFLOG
    file.write_bytes(file.read_bytes()[:length])
    publish(runner, SECOND)
    assert runner.file(NAME, "etc/motd") == b"second"


# An empty storage.


@pytest.fixture
def emptied(runner: JobRunner, storage: Path) -> Iterator[Path]:
    """Publish something, and see another disk in the storage's place."""
    publish(runner, FIRST)
    aside = storage.with_name("aside")
    storage.rename(aside)
    storage.mkdir()
    yield aside
    assert (aside / MANIFEST).exists()


@pytest.mark.parametrize("who", ["keys", "ledger"])
@pytest.mark.parametrize("work", [create_missing_repositories, create_repository])
@pytest.mark.usefixtures("emptied")
def test_an_empty_storage_is_not_filled_when_somebody_knows_better(
    runner: JobRunner,
    config: Config,
    storage: Path,
    who: str,
    work: Callable[..., object],
) -> None:
    if who == "ledger":
        shutil.rmtree(config.repositories[FQRN].keys)
    else:
        runner.services.front.connection.flushall()
    names = [FQRN] if work is create_repository else []
    with pytest.raises(StorageIsEmpty, match="whether the disk is mounted") as caught:
        work(config, *names)
    assert f"`cvmfs-webhook repository init {FQRN} --again`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(storage.iterdir()) == []
    assert config.repositories[FQRN].keys.exists() is (who == "keys")


def test_it_goes_on_when_the_disk_is_back(
    runner: JobRunner, config: Config, storage: Path, emptied: Path
) -> None:
    push(runner, SECOND)
    run = run_anew(runner)
    assert run.next_try is not None
    assert "is its storage mounted?" in (run.reason or "")
    assert list(storage.iterdir()) == []
    replace_folder(storage, emptied)
    create_missing_repositories(config)
    assert run_anew(runner).outcome is Outcome.PUBLISHED


@pytest.mark.usefixtures("emptied")
def test_an_operator_who_names_it_begins_again(runner: JobRunner) -> None:
    public = keys(FQRN).public_key
    for words, code in (((), 1), (("--again",), 1), (("--again", "--name", FQRN), 0)):
        done = command(runner, "repository", "init", FQRN, *words)
        assert done.exit_code == code, done.output
    assert runner.repository.keys.public_key == public
    assert runner.revision == 1
    # What was there is not live, and is published again.
    assert runner.image(NAME).state is State.REMOVED
    assert run_anew(runner).outcome is Outcome.PUBLISHED
    assert runner.file(NAME, "etc/motd") == b"first"
    # Nothing is said to be lost where nothing is, nor asked for.
    repeated = command(runner, "repository", "init", FQRN, "--again")
    assert repeated.stderr.count("\n") == 1
    assert "holds a repository already" in repeated.stderr
    other = command(runner, "repository", "init", "other.example.org", "--again")
    assert "'other.example.org' is not configured" in other.stderr
    assert other.stderr.count("\n") == 1


def test_the_ledger_may_be_told_later(runner: JobRunner, storage: Path) -> None:
    publish(runner, FIRST)
    shutil.rmtree(storage)
    text = runner.config.read_text()
    url = runner.services.config.queue.url
    assert url is not None
    runner.config.write_text(text.replace(url.reveal(), "redis://127.0.0.1:1/0"))
    done = command(runner, "repository", "init", FQRN, "--again", "--name", FQRN)
    assert done.exit_code == 0, done.output
    assert "the ledger was not told" in done.stderr
    runner.config.write_text(text)
    assert command(runner, "ledger", "rebuild", "--name", FQRN).exit_code == 0
    assert runner.image(NAME).state is State.REMOVED


def test_who_was_killed_while_making_a_repository_begins_anew(
    config: Config, storage: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.rmtree(storage)
    shutil.rmtree(config.repositories[FQRN].keys)

    class Killed(Exception):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Repository, "create", die)
        with pytest.raises(Killed):
            create_missing_repositories(config)
    create_missing_repositories(config)
    assert (storage / MANIFEST).exists()
    # From then on its keys are those of something.
    storage.rename(tmp_path / "aside")
    with pytest.raises(StorageIsEmpty):
        create_missing_repositories(config)


def test_without_a_ledger_there_is_nothing_to_compare_with(
    runner: JobRunner, config: Config, tmp_path: Path
) -> None:
    publish(runner, FIRST)
    never = dataclasses.replace(config, queue=QueueConfig(), state=tmp_path / "none")
    away = QueueConfig(url=Secret("redis://127.0.0.1:1/0"))
    for each in (never, dataclasses.replace(config, queue=away)):
        assert head_went_back(each, FQRN) is None
    KnownHeads(runner.services.front.connection).accept(FQRN, 99, "x")
    assert head_went_back(config, FQRN) is not None


def test_keys_that_cannot_be_written_are_said(config: Config, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    repository = dataclasses.replace(
        config.repositories[FQRN], keys=blocked / "keys", storage="file:///nowhere"
    )
    broken = dataclasses.replace(config, repositories={FQRN: repository})
    with pytest.raises(InvalidKeys, match="file/keys: Not a directory"):
        create_repository(broken, FQRN, is_again=True)
