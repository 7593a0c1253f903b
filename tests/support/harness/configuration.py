"""Configurations as files: the example of the design, and what is wrong with others."""

from pathlib import Path

import pytest

from workers.config import Config, ConfigError, load_config

# Design section 5.2 without the kind that a later version brings.
CONTRACT = """\
listen: 0.0.0.0:8080
public_url: https://cvmfs-webhook.example.org
queue: {url: redis://127.0.0.1:6379/0}
state: /var/lib/cvmfs-webhook
trusted_proxies: [10.0.0.0/8]
sources:
  hub:      {kind: dockerhub, secret: "${HUB_SECRET}"}
  gitlab:   {kind: gitlab, registry: gitlab-registry.cern.ch, secret_file: gitlab}
  local:    {kind: distribution, registry: 127.0.0.1:5000, secret: s3cret}
registries:
  127.0.0.1:5000: {plain_http: true}
  docker.io: {username: robot, password_file: secrets/hub}
repositories:
  unpacked.example.org:
    publisher: native
    storage: file:///srv/cvmfs/unpacked.example.org
    keys: /etc/cvmfs/keys
    ttl: 60
policy: policy.yaml
"""
ENVIRON = {"HUB_SECRET": "from-the-environment"}


def load(folder: Path, text: str, **environ: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(text)
    return load_config(path, environ)


def problems(folder: Path, text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **environ)
    # Each line names the file, whoever prints it.
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{folder / 'config.yaml'}: ") for line in lines)
    return caught.value.problems
