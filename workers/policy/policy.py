"""Which images go into which repository: the first rule that matches decides.

Deciding is pure. The file's contract with users is design section 5.3; it is small
enough to be reviewed in a merge request.
"""

import copy
import hashlib
import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from workers.documents.schema_check import Problem, load_schema, schema_problems
from workers.documents.yaml_document import (
    KeyPath,
    UnreadableYaml,
    YamlDocument,
    parse_yaml,
)
from workers.errors import PermanentError
from workers.formats import formats
from workers.policy.image_pattern import is_signature_tag
from workers.policy.rule import Rule, read_rule
from workers.reference import Reference

logger = logging.getLogger(__name__)

_LARGEST_FILE_BYTES = 1_048_576
# A file changed twice within a tick of the file system's clock looks unchanged; a
# signature is trusted only once its file is older than this. Git calls it racy.
_RACY_SECONDS = 2.0
# ("rules", place): from here on a problem is one rule's own.
_RULE_DEPTH = 2


class PolicyError(PermanentError):
    """Everything that is wrong with a policy.

    Args:
        path: the file, which each line of the message begins with; None: not known.

    Attributes:
        problems: one line each, ``rules.2.tags: what is wrong, and the mend``.
    """

    def __init__(self, problems: tuple[str, ...], path: Path | None = None) -> None:
        where = "" if path is None else f"{path}: "
        super().__init__("\n".join(f"{where}{problem}" for problem in problems))
        self.problems = problems


class NoTarget(PermanentError):
    """A rule that does not say into which repository, where it has to."""

    def __init__(self, rule: Rule, mend: str) -> None:
        super().__init__(f"{rule}: {mend}")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says of one reference.

    Attributes:
        reference: canonical.
        allowed: whether it is published.
        reason: one line for the author of the image.
        rule: which one decided; None: none matched.
    """

    reference: str
    allowed: bool
    reason: str
    rule: Rule | None


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules, in the order of the file.

    Attributes:
        rules: in order.
        digest: SHA-256 of the file, in hex.
    """

    rules: tuple[Rule, ...] = ()
    digest: str = ""

    def decide(self, reference: Reference) -> Decision:
        """Return what the first rule that matches image and tag says."""
        if reference.tag is None:
            return _refused(reference, "without a tag nothing is published")
        if is_signature_tag(reference.tag):
            return _refused(reference, "signature or attestation, not an image")
        missed = None
        for rule in self.rules:
            if not rule.matches_name(reference):
                continue
            if rule.matches_tag(reference.tag):
                return _decided(reference, rule)
            missed = missed or rule
        if missed is None:
            return _refused(reference, "no rule allows this name")
        takes = f"{missed} takes only tags {', '.join(missed.tags)}"
        return _refused(reference, f"no rule allows this tag; {takes}")

    def unknown_targets(self, repositories: Collection[str]) -> tuple[str, ...]:
        """Return a line for each rule that publishes to no configured repository."""
        problems = []
        for rule in self.rules:
            try:
                if rule.effect == "allow":
                    target_repository(rule, repositories)
            except NoTarget as exc:
                problems.append(str(exc))
        return tuple(problems)


def target_repository(rule: Rule, repositories: Collection[str]) -> str:
    """Return the CVMFS repository that a rule publishes to.

    Raises:
        NoTarget: it names none of ``repositories``, or there is a choice.
    """
    if rule.repository is not None:
        if rule.repository in repositories:
            return rule.repository
        raise NoTarget(rule, f"repository {rule.repository!r} is not configured")
    if len(repositories) != 1:
        raise NoTarget(rule, "write to: with one of the configured repositories")
    return next(iter(repositories))


def _refused(reference: Reference, reason: str) -> Decision:
    return Decision(str(reference), allowed=False, reason=reason, rule=None)


def _decided(reference: Reference, rule: Rule) -> Decision:
    reason = str(rule) if rule.reason is None else f"{rule.reason} [{rule}]"
    return Decision(str(reference), rule.effect == "allow", reason, rule)


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: with every problem.
    """
    try:
        return _parsed(path)
    except OSError as exc:
        raise PolicyError((f"cannot be read: {exc.strerror}",), path) from exc
    except PolicyError as exc:
        raise PolicyError(exc.problems, path) from exc


def _parsed(path: Path) -> Policy:
    with path.open("rb") as file:
        data = file.read(_LARGEST_FILE_BYTES + 1)
    try:
        return parse_policy(data.decode())
    except UnicodeDecodeError as exc:
        raise PolicyError(("is not UTF-8 text",)) from exc


def parse_policy(text: str) -> Policy:
    """Parse a policy file.

    Raises:
        PolicyError: with every problem.
    """
    try:
        document = parse_yaml(text)
    except UnreadableYaml as exc:
        raise PolicyError((str(exc),)) from exc
    values = {} if document.value is None else document.value
    if isinstance(values, dict) and values.get("rules", ...) is None:
        # All of its lines are commented out.
        del values["rules"]
    schema = _schema()
    problems = schema_problems(schema, values)
    entries = values.get("rules") if isinstance(values, dict) else None
    entries = entries if isinstance(entries, list) else []
    rules = _rules(entries, document, problems)
    if problems:
        problems.sort(key=lambda problem: document.line(problem.path))
        raise PolicyError(tuple(_told(problem, document) for problem in problems))
    return Policy(
        rules=rules,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _schema() -> Draft202012Validator:
    """Return the schema of the file, with the formats that there are."""
    schema = copy.deepcopy(dict(load_schema("workers.policy", "policy.schema.json")))
    rule = schema["properties"]["rules"]["items"]["properties"]
    rule["formats"]["items"]["enum"] = [each.name for each in formats.FORMATS]
    return Draft202012Validator(schema)


def _rules(
    entries: Sequence[Mapping[str, Any]],
    document: YamlDocument,
    problems: list[Problem],
) -> tuple[Rule, ...]:
    """Return the rules that the schema accepts; note what else is wrong with them."""
    broken = {problem.path[:_RULE_DEPTH] for problem in problems}
    rules = []
    for place, raw in enumerate(entries):
        path: KeyPath = ("rules", place)
        if path not in broken:
            rule, found = read_rule(raw, place + 1, document.line(path))
            rules.append(rule)
            problems += [Problem((*path, *rest), text) for rest, text in found]
    return tuple(rules)


def _told(problem: Problem, document: YamlDocument) -> str:
    line = document.line(problem.path)
    if len(problem.path) < _RULE_DEPTH:
        key = ".".join(str(part) for part in problem.path) or "policy"
        return f"{key}: {problem.text} (line {line})"
    _, place, *rest = problem.path
    # People count rules from one, as ``policy explain`` does.
    key = ".".join(str(part) for part in rest)
    return f"rule {int(place) + 1} (line {line}): {key and f'{key}: '}{problem.text}"


class PolicyFile:
    """A policy that is read again when its file changes.

    Safe to share between threads.

    Attributes:
        path: the file.
        problem: why the file as it is now is not in force; None: it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        self._policy = Policy()
        self._signature: tuple[int, ...] | None = None
        self._seen = ""  # SHA-256 of what was read last, good or broken
        self._lock = threading.Lock()

    def current(self) -> Policy:
        """Return the policy in force, after a look whether the file has changed.

        A broken file leaves the last good one in force; before there was one nothing
        is allowed.
        """
        try:
            status = self.path.stat()
        except OSError as exc:
            with self._lock:
                self._cannot_read(exc)
            return self._policy
        signature = (status.st_mtime_ns, status.st_size, status.st_ino)
        if signature != self._signature:
            with self._lock:
                self._read()
                # Changed again within a tick of the clock, it would look the same.
                is_racy = time.time() - status.st_mtime < _RACY_SECONDS
                self._signature = None if is_racy else signature
        return self._policy

    def _read(self) -> None:
        try:
            with self.path.open("rb") as file:
                data = file.read(_LARGEST_FILE_BYTES + 1)
        except OSError as exc:
            self._cannot_read(exc)
            return
        digest = hashlib.sha256(data).hexdigest()
        if digest == self._seen:
            return
        self._seen = digest
        try:
            self._policy = policy = parse_policy(data.decode())
        except UnicodeDecodeError:
            self._tell(f"{self.path}: is not UTF-8 text")
        except PolicyError as exc:
            self._tell(f"{self.path}: {'; '.join(exc.problems)}")
        else:
            self.problem = None
            count = len(policy.rules)
            logger.debug("policy path=%s rules=%d digest=%s", self.path, count, digest)

    def _cannot_read(self, exc: OSError) -> None:
        self._signature = None
        self._seen = ""
        self._tell(f"{self.path}: cannot be read: {exc.strerror}")

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("policy stays as it was problem=%s", problem)
        self.problem = problem
