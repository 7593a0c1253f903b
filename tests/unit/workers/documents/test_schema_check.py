"""What a schema refuses is told by key path, in one line of ours."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from workers.documents.schema_check import (
    Problem,
    load_schema,
    schema_problems,
    validator,
)

OURS = [
    ("workers.config", "config.schema.json"),
    ("workers.policy", "policy.schema.json"),
    ("webhook.senders", "distribution.schema.json"),
    ("webhook.senders", "dockerhub.schema.json"),
    ("webhook.senders", "gitlab.schema.json"),
]
SPEAK_FOR_THEMSELVES = {
    *("type", "enum", "minimum", "maximum", "minLength", "minItems", "maxItems"),
    *("required", "properties", "additionalProperties", "items"),
}
NEED_A_TITLE = {"pattern", "const", "oneOf", "maxLength"}
SAY_NOTHING = {
    *("$schema", "$comment", "$defs", "title", "description", "default", "writeOnly"),
    *("propertyNames", "x-name"),
    # What stands in ``then`` speaks.
    *("if", "then"),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def problems(schema: Mapping[str, Any], document: object) -> list[Problem]:
    return schema_problems(Draft202012Validator(schema), document)


@pytest.mark.parametrize(
    ("schema", "document", "text"),
    [
        ({"type": "string"}, [], "must be text, not a list"),
        ({"type": "string"}, 5, "must be text, in quotes, not 5"),
        ({"type": "integer"}, "5", "must be a whole number, not '5'"),
        ({"type": "boolean"}, {}, "must be true or false, not keys with values"),
        ({"type": "object"}, None, "must be keys with values, not nothing"),
        ({"type": "array"}, "x" * 200, f"must be a list, not '{'x' * 99}"),
        ({"minimum": 1}, 0, "must be at least 1, not 0"),
        ({"maximum": 9}, 10, "must be at most 9, not 10"),
        ({"minLength": 1}, "", "must not be empty"),
        ({"minItems": 1}, [], "must not be empty"),
        ({"maxItems": 1}, [1, 2], "must have at most 1 items, not a list"),
        ({"enum": ["flat", "layers"]}, "x", "must be one of flat, layers, not 'x'"),
        (
            {"enum": ["flat", "layers"]},
            "flatt",
            "must be one of flat, layers, not 'flatt': did you mean 'flat'?",
        ),
        (
            {"pattern": "^[0-9]+GiB$", "title": "a size such as 20GiB"},
            "20 apples",
            "must be a size such as 20GiB, not '20 apples'",
        ),
    ],
)
def test_each_keyword_has_its_words(
    schema: Mapping[str, Any], document: object, text: str
) -> None:
    nested = {"properties": {"a": {"items": schema}}}
    assert problems(nested, {"a": [document]}) == [Problem(("a", 0), text)]


def test_keys_that_are_unknown_or_missing_are_told_where_they_belong() -> None:
    schema = {
        "properties": {"workers": {}, "policy": {}, "state": {}},
        "additionalProperties": False,
        "required": ["policy", "state"],
    }
    assert set(problems(schema, {"worker": 1, "zzz": 2})) == {
        Problem(("worker",), "unknown key: did you mean 'workers'?"),
        Problem(("zzz",), "unknown key"),
        Problem(("policy",), "is missing"),
        Problem(("state",), "is missing"),
    }


def test_a_name_that_may_not_be_is_told_by_what_names_are() -> None:
    schema = {"propertyNames": {"pattern": "^[a-z]+$", "title": "lower case letters"}}
    told = "the name must be lower case letters"
    assert problems(schema, {"good": 1, "Bad": 2}) == [Problem(("Bad",), told)]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "writeOnly": True},
        {"enum": ["a"], "writeOnly": True},
        {"pattern": "^a$", "title": "an a", "writeOnly": True},
    ],
)
def test_a_value_that_may_be_a_secret_is_not_told(schema: Mapping[str, Any]) -> None:
    (problem,) = problems(schema, "hunter2")
    assert "hunter2" not in problem.text


@pytest.mark.parametrize("name", OURS, ids=str)
def test_a_keyword_of_ours_that_says_too_little_has_a_title(
    name: tuple[str, str],
) -> None:
    for rules in subschemas(load_schema(*name)):
        assert rules.keys() <= SPEAK_FOR_THEMSELVES | NEED_A_TITLE | SAY_NOTHING
        if rules.keys() & NEED_A_TITLE:
            assert "title" in rules, rules
        if "propertyNames" in rules:
            assert "title" in rules["propertyNames"], rules


@pytest.mark.parametrize("name", OURS, ids=str)
@given(document=JSON)
def test_any_document_is_told_in_single_lines(
    name: tuple[str, str], document: object
) -> None:
    for problem in schema_problems(validator(*name), document):
        assert problem.text.isprintable()


def subschemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and all that is in it."""
    yield schema
    for keyword, value in schema.items():
        inner: list[Any] = []
        if keyword in {"properties", "$defs"}:
            inner = list(value.values())
        elif keyword == "oneOf":
            inner = value
        elif keyword in {"items", "additionalProperties", "propertyNames"}:
            inner = [value]
        for one in inner:
            if isinstance(one, dict):
                yield from subschemas(one)
