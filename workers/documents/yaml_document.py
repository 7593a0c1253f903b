"""YAML as the operator's files may use it: plain data, each key once, line numbers.

Anchors, aliases, merge keys and tags are refused: a few lines of aliases can grow into
gigabytes (yaml/pyyaml#235), and nobody reviews what a merge key overrides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from workers.errors import PermanentError

KeyPath = tuple[str | int, ...]

# A thousand rules are 60 kB; PyYAML needs seconds for a megabyte.
_LARGEST_BYTES = 1_048_576
_DEEPEST = 16
_TEXT_TAG = "tag:yaml.org,2002:str"
_SCALAR_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")
)
# A plain 2026-02-03 is a tag of an image sooner than a date.
_DATE_TAG = "tag:yaml.org,2002:timestamp"
_COLLECTION_TAGS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


class UnreadableYaml(PermanentError):
    """A text that is not YAML, or uses what we refuse."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """The data of one document.

    Attributes:
        value: None, bool, int, float, str, and lists and dicts with str keys of these.
        lines: of each key and list item, from 1, by its path from the root.
    """

    value: object
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Return the line of ``path``, or of the nearest thing around it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


class _Loader(yaml.SafeLoader):
    """The safe loader without aliases, and with a bound on its own recursion."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # untyped stub
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise UnreadableYaml("anchors and aliases are refused: write it out", line)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnreadableYaml(f"nested deeper than {_DEEPEST} levels", line)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def parse_yaml(text: str) -> YamlDocument:
    """Parse one document.

    Raises:
        UnreadableYaml: with the line and what is wrong there.
    """
    if len(text) > _LARGEST_BYTES:
        raise UnreadableYaml(f"larger than {_LARGEST_BYTES} bytes")
    lines: dict[KeyPath, int] = {(): 1}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = None if node is None else _value(loader, node, (), lines)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        raise UnreadableYaml(
            exc.problem or "not YAML", None if mark is None else mark.line + 1
        ) from exc
    except yaml.YAMLError as exc:
        # A control character; the library's text spreads over two lines.
        raise UnreadableYaml(" ".join(str(exc).split())) from exc
    return YamlDocument(value, lines)


def _value(
    loader: _Loader, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]
) -> object:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(loader, node, line)
    if node.tag not in _COLLECTION_TAGS:
        raise UnreadableYaml(f"the tag {node.tag!r} is refused", line)
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(loader, item, (*path, place), lines)
            for place, item in enumerate(node.value)
        ]
    mapping: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _value(loader, key_node, (), lines)
        if not isinstance(key, str):
            raise UnreadableYaml("a key is not text: put it in quotes", line)
        if key in mapping:
            raise UnreadableYaml(f"the key {key!r} stands twice", line)
        lines[*path, key] = line
        mapping[key] = _value(loader, value_node, (*path, key), lines)
    return mapping


def _scalar(loader: _Loader, node: yaml.ScalarNode, line: int) -> object:
    if node.tag in {_TEXT_TAG, _DATE_TAG, "tag:yaml.org,2002:merge"}:
        text: str = node.value
        return text
    if node.tag not in _SCALAR_TAGS:
        raise UnreadableYaml(f"the tag {node.tag!r} is refused", line)
    try:
        return loader.construct_object(node)
    except (ValueError, LookupError) as exc:
        # More digits than int() takes, or an explicit !!int on something else.
        raise UnreadableYaml("not a number: put text in quotes", line) from exc
