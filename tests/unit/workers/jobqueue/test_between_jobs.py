import logging
import os
from pathlib import Path

import pytest

from tests.support.tools.waiting import wait_until
from workers.jobqueue.between_jobs import BetweenJobs


def nothing() -> None:
    pass


def test_what_it_waits_for_is_said_once_and_its_end_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whys: list[str | None] = [None, "disk full", "disk full", None]
    between = BetweenJobs(lambda: whys.pop(0), nothing)
    with caplog.at_level(logging.INFO):
        assert [between.may_begin() for _ in range(4)] == [True, False, False, True]
    said = [record.getMessage() for record in caplog.records]
    assert said == ["no job is begun: disk full", "jobs are begun again"]


def test_the_chore_is_done_at_once_in_a_process_of_its_own(tmp_path: Path) -> None:
    place = tmp_path / "pid"

    def chore() -> None:
        place.with_suffix(".new").write_text(str(os.getpid()))
        place.with_suffix(".new").rename(place)
        raise OSError("which harms nobody")

    between = BetweenJobs(lambda: None, chore)
    assert between.may_begin()
    wait_until(place.exists, "the chore is done")
    assert between.may_begin()
    assert int(place.read_text()) != os.getpid()
    place.unlink()
    assert between.may_begin()
    assert not place.exists()  # not before an hour has passed
