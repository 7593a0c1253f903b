"""An operator, for the commands that keep a repository in order."""

from pathlib import Path

import pytest

from tests.support.harness.image_commands import NAME
from tests.support.harness.jobs import JobRunner
from tests.support.harness.operator import Operator
from workers.jobs import run_job
from workers.reference import Reference


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.fixture
def at_work(runner: JobRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a job run whenever a command waits."""

    def work(_seconds: float) -> None:
        run_job(runner.services, Reference.parse(runner.reference(NAME)))

    monkeypatch.setattr("webhook.commands.images.time.sleep", work)
