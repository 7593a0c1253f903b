"""What ``up`` says to whoever started it."""

from pathlib import Path

import pytest

from webhook.machine.up import welcome
from workers.config import load_config


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
