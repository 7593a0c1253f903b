"""YAML is taken in its plain form only."""

from pathlib import Path

import pytest

from tests.support.harness.configuration import problems


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "line 1: expected the node content"),
        ("workers: 1\nworkers: 2\n", "line 2: the key 'workers' stands twice"),
        ("a: &x 1\nb: *x\n", "line 1: anchors and aliases are refused"),
        ("a: !!python/object:os.system {}\n", "line 1: the tag"),
        ("a: !!binary aGk=\n", "line 1: the tag"),
        ("a: !!int b\n", "line 1: not a number"),
        ("a: !!bool b\n", "line 1: not a number"),
        ("1: a\n", "line 1: a key is not text"),
        ("[a]: b\n", "line 1: a key is not text"),
        ("a: " + "[" * 20 + "]" * 20, "line 1: nested deeper than 16 levels"),
        ("a: \x07\n", "special characters are not allowed"),
        ("a: 1\n---\nb: 1\n", "line 2: but found another document"),
        ("a: " + "9" * 5000, "line 1: not a number"),
        ("#" * 1_048_577, "larger than 1048576 bytes"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_by_line(
    tmp_path: Path, text: str, told: str
) -> None:
    (problem,) = problems(tmp_path, text)
    assert told in problem
