"""What all commands have in common: how they say that something cannot be done."""

import logging
import re

import pytest

from tests.support.harness.operator import FQRN, Operator
from webhook.commands.frame import about, start_logging
from workers.config import load_config
from workers.cvmfs import LocalStorage


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("tag", FQRN, "--add", "trunk-mine"), 1, "publishing's own"),
        (("tag", FQRN, "--add", "a b"), 1, "no space"),
        (("tag", FQRN, "--remove", "nothing"), 1, "no tag 'nothing'"),
        (("tag", FQRN, "--add", "a", "--remove", "b"), 2, "not both"),
        (("rollback", FQRN, "nowhere"), 1, "no tag 'nowhere'"),
        (("rollback", FQRN, "77"), 1, "no revision 77"),
        (("gc", FQRN, "--keep", "0"), 2, "--keep"),
        (("gc", FQRN, "--grace", "soon"), 2, "is no time"),
        (("gc", "other.example.org"), 2, "not configured"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    operator: Operator, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = operator.run(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_what_is_busy_is_to_be_tried_again(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        LocalStorage.__init__, "__kwdefaults__", {"patience_seconds": 0.0}
    )
    with LocalStorage(operator.storage).lock():
        result = operator.run("tag", FQRN, "--add", "mine")
    assert result.exit_code == 4
    assert result.stderr.startswith(f"error: {FQRN}: ")


def test_the_log_says_in_which_zone_its_times_are(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        start_logging(load_config(operator.config, {}))
        logging.getLogger("x").warning("said")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    pattern = r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}[+-]\d\d:\d\d WARNING x said\n"
    assert re.fullmatch(pattern, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("text", "whole"),
    [("a.b/c:1: it is gone", "a.b/c:1: it is gone"), ("gone", "a.b/c:1: gone")],
)
def test_a_name_is_not_said_twice(text: str, whole: str) -> None:
    assert about("a.b/c:1", text) == whole
