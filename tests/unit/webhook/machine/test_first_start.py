"""The files that a first start writes."""

import stat
from pathlib import Path

from webhook.machine.first_start import FQRN, write_first_files
from workers.config import CollectConfig, load_config
from workers.policy import PolicyFile
from workers.reference import Reference

REFERENCE = "127.0.0.1:5000/atlas/analysis:v1"


def test_the_first_files_are_private_valid_and_allow_nothing(tmp_path: Path) -> None:
    path = write_first_files(tmp_path, "127.0.0.1:8080")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = load_config(path, {})
    kinds = {one.kind for one in config.sources.values()}
    assert {"dockerhub", "distribution", "gitlab"} <= kinds
    assert config.repositories[FQRN].collect is None
    assert config.registries["127.0.0.1:5000"].plain_http
    assert config.state == tmp_path
    assert config.queue.url is None
    secrets = {
        secret.reveal()
        for source in config.sources.values()
        for secret in source.secrets
    }
    secrets |= {token.reveal() for token in config.operator.tokens}
    assert all(len(secret) >= 32 for secret in secrets)
    assert len(secrets) == len(config.sources) + 1
    policy = PolicyFile(config.policy)
    decision = policy.current().decide(Reference.parse(REFERENCE))
    assert policy.problem is None
    assert not decision.allowed


def test_a_second_start_leaves_the_operators_files_alone(tmp_path: Path) -> None:
    first = write_first_files(tmp_path, "127.0.0.1:8080").read_text()
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrules: [{allow: docker.io/atlas/*}]\n")
    assert write_first_files(tmp_path, "127.0.0.1:9090").read_text() == first
    assert "atlas" in policy.read_text()


def test_each_first_start_has_secrets_of_its_own(tmp_path: Path) -> None:
    texts = {
        write_first_files(tmp_path / name, "127.0.0.1:8080").read_text()
        for name in "ab"
    }
    assert len(texts) == 2


def test_what_deletes_is_shown_and_works_once_its_line_is_no_comment(
    tmp_path: Path,
) -> None:
    path = write_first_files(tmp_path, "127.0.0.1:8080")
    path.write_text(path.read_text().replace("# collect: ", "collect: "))
    assert load_config(path, {}).repositories[FQRN].collect == CollectConfig(604_800)
