"""What all commands have in common: how they say that something cannot be done."""

import pytest

from tests.support.harness.operator import FQRN, Operator


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
        (("gc", "other.example.org"), 1, "not configured"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    operator: Operator, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = operator.run(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output
