"""``publish`` tells how to use an image, ``status`` its history."""

import pytest

from tests.support.harness.image_commands import NAME, ask, command, publish
from tests.support.harness.jobs import FQRN, JobRunner


def test_the_status_tells_which_digest_was_live_when(
    runner: JobRunner, at_work: None
) -> None:
    images = [publish(runner, text) for text in (b"first", b"second")]
    command(runner, "remove", runner.reference(NAME), "--wait")
    lives = ask(runner, "status", runner.reference(NAME))["lives"]
    digests = [image.digest for image in images]
    assert [live["digest"] for live in lives] == [None, *reversed(digests)]
    assert [live["revision"] for live in lives] == [None, 3, 2]
    lines = command(runner, "status", runner.reference(NAME)).output.splitlines()
    told = [line for line in lines if line.startswith("  live 2")]
    assert [line.split()[-3] for line in told] == [d[:19] for d in reversed(digests)]
    assert "now" not in "".join(told)


@pytest.mark.parametrize(
    ("formats", "told"),
    [
        ("[layers, flat]", "/cvmfs/{fqrn}/{name}"),
        ("[podman]", "podman run {name}"),
        ("[layers]", "/cvmfs/{fqrn}/.layers"),
    ],
)
def test_publish_ends_with_the_usual_way_to_use_the_image(
    runner: JobRunner, at_work: None, formats: str, told: str
) -> None:
    runner.allow(formats=formats)
    publish(runner, b"first")
    name = runner.reference(NAME)
    result = command(runner, "publish", name, "--wait")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == told.format(fqrn=FQRN, name=name)
