"""What ``up`` says to whoever started it."""

import dataclasses
from pathlib import Path

import pytest

from webhook.machine.up import _supervisor as children_of
from webhook.machine.up import welcome
from workers.config import CollectConfig, Config, RepositoryConfig, load_config


@pytest.mark.parametrize(
    ("s3", "url"),
    [
        ("region: eu", "https://s3.eu.amazonaws.com/bucket/p"),
        ("region: eu, path_style: false", "https://bucket.s3.eu.amazonaws.com/p"),
        (
            "endpoint: https://bucket.s3.example.org, path_style: false",
            "https://bucket.s3.example.org/p",
        ),
    ],
)
def test_the_url_of_a_bucket_follows_its_style(
    tmp_path: Path, s3: str, url: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"repositories: {{a.b: {{storage: s3://bucket/p, s3: {{{s3}}}}}}}")
    assert f"CVMFS_SERVER_URL={url}\n" in welcome(load_config(path, {}))


def test_a_repository_of_another_publisher_is_neither_served_nor_collected(
    tmp_path: Path,
) -> None:
    ours = RepositoryConfig(
        "ours.example.org", "file:///srv/ours", collect=CollectConfig(3600)
    )
    theirs = dataclasses.replace(ours, fqrn="theirs.example.org", publisher="gateway")
    config = Config(repositories={each.fqrn: each for each in (ours, theirs)})
    told = welcome(config)
    assert f"Mount {ours.fqrn}: install {ours.keys / ours.fqrn}.pub" in told
    assert theirs.fqrn not in told
    [errand] = children_of(config, tmp_path / "config.yaml").errands
    assert errand.name == f"garbage collection of {ours.fqrn}"
    assert ours.fqrn in errand.command()
