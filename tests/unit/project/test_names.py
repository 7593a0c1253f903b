"""One name has one meaning, and what a text names is there."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("webhook", "workers")
NAMED_FILE = re.compile(r"`+((?:[\w.-]+/)*[\w-]+\.py)`+")


def modules(*packages: str) -> list[Path]:
    return [path for package in packages for path in (ROOT / package).rglob("*.py")]


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in modules(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    twice = [
        f"{name}: {' and '.join(where)}"
        for name, where in places.items()
        if len(where) > 1
    ]
    assert not twice, "call one of each by another name:\n" + "\n".join(sorted(twice))


def texts(path: Path) -> Iterator[str]:
    """Give the docstring of a module and its comments."""
    text = path.read_text()
    if not NAMED_FILE.search(text):
        return
    yield ast.get_docstring(ast.parse(text), clean=False) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def folders_above(path: Path) -> list[Path]:
    return [one for one in path.parents if one.is_relative_to(ROOT)]


def test_every_file_that_a_docstring_or_comment_names_is_there() -> None:
    """Names are relative to the file's folder, or to any folder that holds that one."""
    missing = [
        f"{path.relative_to(ROOT)} names {name}"
        for path in modules(*PACKAGES, "tests")
        for text in texts(path)
        for name in NAMED_FILE.findall(text)
        if not any((folder / name).is_file() for folder in folders_above(path))
    ]
    assert not missing, "there is no such file:\n" + "\n".join(sorted(missing))
