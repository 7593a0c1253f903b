"""The file as a whole: what is not read, not known, or wrong in several places."""

import copy
from pathlib import Path

import pytest

from tests.support.harness.configuration import load, problems
from tests.support.harness.documented_settings import settings
from workers.config import ConfigError, document, load_config
from workers.config.document import CONFIG_SCHEMA
from workers.documents.schema_check import load_schema


def allow_publishers(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    schema = copy.deepcopy(dict(load_schema(*CONFIG_SCHEMA)))
    entry = schema["properties"]["repositories"]["additionalProperties"]
    entry["properties"]["publisher"]["enum"] = list(kinds)
    monkeypatch.setattr(document, "load_schema", lambda *_: schema)


def test_every_setting_has_a_meaning() -> None:
    keys = [setting.key for setting in settings()]
    assert "sources.<name>.secret_file" in keys
    assert "registries.<host>.token_hosts" in keys
    assert "repositories.<fqrn>.ttl" in keys
    assert len(keys) == len(set(keys))
    assert all(setting.meaning for setting in settings())


def test_every_problem_is_told_at_once_by_key_path_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_publishers(monkeypatch, "native")
    text = """\
listen: nowhere
workers: many
sources:
  hub: {kind: dockerhub, secret: "${HUB}"}
  local: {kind: distribution, secret: abc}
  lab: {kind: gitlab, registry_: gitlab.example, secret_file: absent}
  quay: {kind: quay, robot: x, secret: long enough}
  bad name: {kind: dockerhub, secret: long-enough}
registries:
  "no host": {plain_http: "yes"}
  docker.io: {username: robot}
repositories:
  unpacked: {publisher: gateway}
  a.example.org: {storage: http://bucket/prefix}
pollicy: x
"""
    absent, no_file = str(tmp_path / "absent"), "No such file or directory"
    assert problems(tmp_path, text) == (
        "listen: must be host:port such as 127.0.0.1:8080, not 'nowhere' (line 1)",
        "workers: must be a whole number, not 'many' (line 2)",
        "sources.hub.secret: the environment variable HUB is not set (line 4)",
        "sources.local.registry: is missing: give host or host:port (line 5)",
        "sources.local.secret: is too short: use at least 6 characters (line 5)",
        "sources.lab.registry_: unknown key: did you mean 'registry'? (line 6)",
        f"sources.lab.secret_file: cannot read {absent!r}: {no_file} (line 6)",
        "sources.quay.kind: kind 'quay' is not available in this version (line 7)",
        (
            "sources.bad name: the name must be 1 to 64 letters, digits, . _ or -, "
            "beginning with a letter or digit (line 8)"
        ),
        "registries.no host.plain_http: must be true or false, not 'yes' (line 10)",
        (
            "registries.no host: registry 'no host' is not valid: give a full "
            "host name or host:port (line 10)"
        ),
        "registries.docker.io.password: is missing beside the username (line 11)",
        (
            "repositories.unpacked.publisher: publisher 'gateway' is not available in "
            "this version (line 13)"
        ),
        (
            "repositories.a.example.org.storage: must be file:///folder or "
            "s3://bucket/prefix, not 'http://bucket/prefix' (line 14)"
        ),
        "pollicy: unknown key: did you mean 'policy'? (line 15)",
    )


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (
            "limits: {events: 0}\nqueue: {durability: maybe, url: http://x}\n",
            ["limits.events", "queue.durability", "queue.url"],
        ),
        (
            "operator: {token: short, tokens: x}\nlisten: nowhere\n",
            ["operator.tokens", "operator.token", "listen"],
        ),
        (
            "sources: {a: {kind: gitlab, enabled: maybe, secret: x}}\n",
            ["sources.a.enabled", "sources.a.registry", "sources.a.secret"],
        ),
        (
            "sources: {a: {kind: gitlab, secret: '${A}'}}\n",
            ["sources.a.secret", "sources.a.registry"],
        ),
        (
            "sources: {a: {kind: gitlab, foo: 1}}\n",
            ["sources.a.foo", "sources.a.registry", "sources.a.secret"],
        ),
        (
            "sources: {a: {kind: gitlab, registri: a.b, secrets: abcdef}}\n",
            ["sources.a.registri", "sources.a.secrets"],
        ),
        (
            "trusted_proxies: [10, 10.0.0.1/8]\n",
            ["trusted_proxies.0", "trusted_proxies.1"],
        ),
        (
            "repositories: {a.b: {ttl: x, s3: {region: 1}, collect: {every: 1s}}}\n",
            [
                "repositories.a.b.storage",
                "repositories.a.b.ttl",
                "repositories.a.b.s3.region",
                "repositories.a.b.collect.every",
            ],
        ),
    ],
)
def test_one_mistake_hides_no_other(tmp_path: Path, text: str, keys: list[str]) -> None:
    told = [problem.partition(": ")[0] for problem in problems(tmp_path, text)]
    assert sorted(told) == sorted(keys)


REPOSITORY = "repositories: {{a.b: {{publisher: {}}}}}"


@pytest.mark.parametrize("kind", ["cvmfs_server", "gateway"])
def test_a_publisher_is_not_available_until_the_schema_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    text = REPOSITORY.format(kind)
    allow_publishers(monkeypatch, "native")
    assert problems(tmp_path, text) == (
        (
            f"repositories.a.b.publisher: publisher {kind!r} is not available in this "
            "version (line 1)"
        ),
    )
    allow_publishers(monkeypatch, "native", kind)
    assert load(tmp_path, text).repositories["a.b"].publisher == kind


def test_what_is_native_needs_a_storage(tmp_path: Path) -> None:
    missing = "repositories.a.b.storage: is missing (line 1)"
    assert problems(tmp_path, REPOSITORY.format("native")) == (missing,)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"absent\.yaml: cannot be read: No such file"
    ):
        load_config(tmp_path / "absent.yaml", {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(tmp_path / "binary.yaml", {})
