"""However a run is told to end, and wherever it is then, it ends within seconds.

All runs are stuck at once, each with a worker of its own, and all are told at once.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tests.support.harness.job_workers import PLACES, JobWorkers
from tests.support.harness.jobs import FQRN, JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import digest_of, tar_of
from tests.support.tools.waiting import wait_until
from workers.ledger import Hint, Outcome, RunRecord, State, orders

PROMISED_SECONDS = 5.0
# What a machine adds that is busy with other tests.
BUSY_SECONDS = 15.0
LIMIT_SECONDS = 4
CANCELLED = "cancelled by the operator"

HOLE = tars.tar(tars.pax_sparse(b"hole", 100 << 40, [], "1.0"))


class Case(NamedTuple):
    """A run that is somewhere when it is told; the name of its image."""

    place: str
    way: str

    @property
    def name(self) -> str:
        return f"{self.place}/{self.way.replace(' ', '-')}:v1"


CASES = (
    *(
        Case(place, way)
        for place in ("in-c", "header-of-manifest", "hole")
        for way in ("time limit", "remove", "cancel", "newer push")
    ),
    Case("stubborn", "time limit"),
    Case("waiting-for-a-thread", "remove"),
    Case("header-of-blob", "newer push"),
    Case("body-of-blob", "time limit"),
    Case("commit", "remove"),
    Case("commit", "time limit"),
)


def put(runner: JobRunner, case: Case) -> None:
    """Put an image into the registry, and what is wrong with it."""
    name, _, tag = case.name.partition(":")
    layer = HOLE if case.place == "hole" else tar_of({"name": name.encode() * 999})
    image = runner.registry.push_image(name, tag, [layer])
    match case.place:
        case "header-of-manifest":
            runner.registry.drip_head("HEAD", f"/{name}/manifests/", pause=1)
        case "header-of-blob":
            runner.registry.drip_head("GET", f"/{name}/blobs/", pause=1)
        case "body-of-blob":
            pattern = f"/{name}/blobs/{digest_of(image.layers[0].blob)}"
            runner.registry.drip(pattern, block=1, pause=1)


def wait_until_in_place(runner: JobRunner, workers: JobWorkers, case: Case) -> None:
    name = case.name.partition(":")[0]
    if case.way == "time limit":
        return  # Too busy a machine might not get there in time; it ends all the same.
    if case.place in PLACES:
        workers.wait_until(case.name, State.CONVERTING)
    elif case.place == "commit":
        workers.wait_until(case.name, State.PUBLISHING)
        ready = f"cvmfs-webhook:ready:{FQRN}"
        wait_until(lambda: workers.connection.hlen(ready), f"{name} waits")
    elif case.place == "header-of-manifest":
        wait_until(
            lambda: runner.registry.seen("HEAD", f"/{name}/"), f"{name} is asked"
        )
    else:
        wait_until(lambda: runner.registry.seen("GET", f"/{name}/blobs/"), f"{name}")


def tell(workers: JobWorkers, runner: JobRunner, case: Case) -> float | None:
    """Tell a run to end; return when, or None where its time does."""
    reference = runner.reference(case.name)
    if case.way == "remove":
        workers.ledger.request(reference, source="test", order=orders.REMOVE)
    elif case.way == "cancel":
        workers.ledger.cancel(reference, CANCELLED)
    elif case.way == "newer push":
        hint = Hint(f"sha256:{'f' * 64}", "test")
        workers.ledger.request(reference, source="test", hint=hint)
    else:
        return None
    return workers.ledger.now()


def complaints(case: Case, run: RunRecord, told: float) -> Iterator[str]:
    """Yield what is wrong with the end of a run that was told to end."""
    reason, seconds = run.reason or "", (run.ended or 0) - told
    if seconds > PROMISED_SECONDS + BUSY_SECONDS:
        yield f"took {seconds:.1f} s"
    if case.way == "cancel":
        if (run.outcome, reason) != (Outcome.FAILED, CANCELLED):
            yield f"{run.outcome}: {reason}"
    elif case.way != "time limit":
        if (run.outcome, reason) != (Outcome.SUPERSEDED, "a newer push was waiting"):
            yield f"{run.outcome}: {reason}"
    elif "took longer than" not in reason or "push a smaller image" not in reason:
        yield f"{run.outcome}: {reason}"
    elif (run.outcome, run.next_try, run.attempt) != (Outcome.FAILED, None, 1):
        yield "is not final"


def test_every_run_that_is_told_to_end_does(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """One test, as its runs are stuck side by side and take no longer than one."""
    with open_job_runner(redis_server, tmp_path) as runner, ExitStack() as stack:
        runner.allow(limits="{size: 1000TiB}")
        stack.enter_context(runner.repository.storage.lock())
        workers = stack.enter_context(JobWorkers(runner, len(CASES)))
        for case in CASES:
            put(runner, case)
            is_limited = case.way == "time limit"
            workers.want(case.name, seconds=LIMIT_SECONDS if is_limited else None)
        for case in CASES:
            wait_until_in_place(runner, workers, case)
        workers.hold()
        cancelled = [case for case in CASES if case.way == "cancel"]
        assert all(workers.is_alive(case.name) for case in cancelled)
        told = {case: tell(workers, runner, case) for case in CASES}
        # The ledger says at once that these have ended, whatever their processes do.
        dead = {case: workers.wait_for_death(case.name) for case in cancelled}
        runs = {case: workers.wait_for_run(case.name) for case in CASES}
        runs |= {case: replace(runs[case], ended=dead[case]) for case in dead}
    wrong = [
        f"{case.name} {complaint}"
        for case, run in runs.items()
        for complaint in complaints(
            case, run, told[case] or run.started + LIMIT_SECONDS
        )
    ]
    assert not wrong


def test_what_ran_out_of_time_is_final_though_the_ledger_was_away(
    tmp_path: Path,
) -> None:
    (tmp_path / "jobs").mkdir()
    with (
        RedisServer(tmp_path / "queue") as server,
        open_job_runner(server, tmp_path / "jobs") as runner,
        JobWorkers(runner, 1) as workers,
    ):
        case = Case("in-c", "time limit")
        put(runner, case)
        workers.want(case.name, seconds=LIMIT_SECONDS)
        workers.wait_until(case.name, State.CONVERTING)
        server.kill()
        wait_until(lambda: "is told later" in workers.log, "its end cannot be told")
        server.start()
        run = workers.wait_for_run(case.name)
        assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
        assert "took longer than" in (run.reason or "")
