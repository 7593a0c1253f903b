"""What a JSON Schema refuses, said in our own words and by key path.

The library's messages quote the offending value, which may be a secret; ours quote it
only where the schema does not mark it ``writeOnly``. Schemas keep to the few keywords
below, and give a ``title`` ("a size such as 20GiB") wherever a keyword says too little.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from workers.documents.yaml_document import KeyPath

_TYPES = {
    "object": "keys with values",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
}


_BOUNDS = {
    "minimum": "be at least {}",
    "maximum": "be at most {}",
    "minLength": "not be empty",
    "minItems": "not be empty",
    "maxItems": "have at most {} items",
}


UNKNOWN_KEY = "unknown key"
"""How a problem begins that may be another key, misspelt."""


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        path: keys from the root of the document.
        text: what is wrong and the mend, in one line.
    """

    path: KeyPath
    text: str


@cache
def load_schema(package: str, name: str) -> Mapping[str, Any]:
    """Return the schema that is shipped as ``name`` inside ``package``."""
    schema = json.loads(files(package).joinpath(name).read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return dict(schema)


@cache
def validator(package: str, name: str) -> Draft202012Validator:
    """Return a validator for a shipped schema, built once."""
    return Draft202012Validator(load_schema(package, name))


def schema_problems(schema: Draft202012Validator, document: object) -> list[Problem]:
    """Return every disagreement of ``document`` with ``schema``."""
    found = (
        problem
        for error in schema.iter_errors(document)
        for problem in _problems(error)
    )
    # The library reports a missing key once per missing key, without saying which.
    return list(dict.fromkeys(found))


def _problems(error: ValidationError) -> Iterator[Problem]:
    path = tuple(error.absolute_path)
    rules: Mapping[str, Any] = error.schema  # type: ignore[assignment] # never bool here
    instance: Any = error.instance
    wanted: Any = error.validator_value
    if error.validator == "additionalProperties":
        known = sorted(rules.get("properties", ()))
        for key in sorted(instance.keys() - set(known)):
            yield Problem((*path, key), f"{UNKNOWN_KEY}{_hint(key, known)}")
    elif error.validator == "required":
        for key in wanted:
            if key not in instance:
                yield Problem((*path, key), "is missing")
    elif "propertyNames" in error.relative_schema_path:
        yield Problem((*path, instance), f"the name must be {rules['title']}")
    else:
        must = _must(str(error.validator), wanted, instance, rules)
        quiet = rules.get("writeOnly") or must.startswith("not ")
        shown = "" if quiet else f", not {_shown(instance)}"
        hint = _hint(str(instance), wanted) if error.validator == "enum" else ""
        yield Problem(path, f"must {must}{shown}{hint}")


def _must(keyword: str, wanted: Any, instance: object, rules: Mapping[str, Any]) -> str:
    if keyword == "enum":
        return f"be one of {', '.join(wanted)}"
    if "title" in rules:
        return f"be {rules['title']}"
    if keyword == "type":
        unquoted = wanted == "string" and isinstance(instance, int | float)
        return f"be {_TYPES[wanted]}{', in quotes' if unquoted else ''}"
    if keyword in _BOUNDS:
        return _BOUNDS[keyword].format(wanted)
    return f"keep to the rule {keyword}"


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return _TYPES["object" if isinstance(value, dict) else "array"]
    return "nothing" if value is None else repr(value)[:100]


def _hint(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {close[0]!r}?" if close else ""
