"""What the first ``up`` writes into an empty state directory.

A configuration that works as it is, with fresh secrets, and a policy that allows
nothing yet. Both are the operator's from then on: they are never written again.
"""

import secrets
from pathlib import Path

from workers.documents.whole_file import make_private_folder, write_whole

FQRN = "unpacked.local"
FIRST_CONFIG = "config.yaml"

_CONFIG = """\
# Configuration of cvmfs-webhook, written at the first start; it is yours now.
# Every setting is in the README. Paths are relative to this folder.

listen: {listen}
# How senders reach this machine, for the URLs that are printed:
# public_url: https://cvmfs-webhook.example.org

# Without `queue: {{url: redis://...}}` a queue server of our own runs, with its
# append-only file in this folder.
state: .
policy: policy.yaml
workers: 2

# Who may steer: log in with it on the dashboard, or send `Authorization: Bearer ...`.
operator: {{token: {operator}}}

# One route /hooks/<name> for each sender of notifications.
sources:
  hub: {{kind: dockerhub, secret: {hub}}}
  local: {{kind: distribution, registry: "127.0.0.1:5000", secret: {local}}}
  # Write the name of your GitLab's registry here; without one, take the line out.
  gitlab: {{kind: gitlab, registry: registry.gitlab.example.org, secret: {gitlab}}}

registries:
  "127.0.0.1:5000": {{plain_http: true}}
  # docker.io: {{username: robot, password_file: hub-password}}

repositories:
  {fqrn}:
    publisher: native
    storage: {storage}
    keys: keys
    ttl: 60
    # What nothing leads to any more is kept until this says how often to delete it;
    # what was live within `restorable_for` stays.
    # collect: {{every: 1w, restorable_for: 30d}}
"""

_POLICY = """\
# Which images are published: the first rule whose image and tags match decides, and
# what no rule matches is refused. Changes count at once, without a restart.
version: 1
rules:
#  - allow: docker.io/atlas/*          # * is one path component, ** any depth
#  - allow: 127.0.0.1:5000/**
#    tags: ["v*", latest]
#  - deny: docker.io/unknownuser/**
#    reason: not a namespace of the experiment
"""


def write_first_files(state: Path, listen: str) -> Path:
    """Write what is missing; return the path of the configuration."""
    make_private_folder(state.absolute())
    config = state / FIRST_CONFIG
    if not config.exists():
        fresh = {name: secrets.token_urlsafe(24) for name in _SECRETS}
        storage = (state.resolve() / "cvmfs" / FQRN).as_uri()
        text = _CONFIG.format(listen=listen, storage=storage, fqrn=FQRN, **fresh)
        write_whole(config, text)
    policy = state / "policy.yaml"
    if not policy.exists():
        write_whole(policy, _POLICY)
    return config


_SECRETS = ("operator", "hub", "local", "gitlab")
