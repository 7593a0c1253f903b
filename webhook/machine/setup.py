"""What an operator pastes elsewhere: URLs, secrets, how to mount.

The configuration alone says it. Secrets are in it, so it is for whoever asks, and not
for the log of every start.
"""

import shlex

from webhook.senders import SENDERS
from workers.config import Config, RepositoryConfig, S3Config
from workers.config.values import storage_bucket
from workers.wiring import native_repositories


def bucket_url(repository: RepositoryConfig) -> str | None:
    """Return where clients read a repository in a bucket; None for one in a folder."""
    if not repository.storage.startswith("s3://"):
        return None
    s3 = repository.s3 or S3Config()
    bucket, prefix = storage_bucket(repository.storage)
    endpoint = s3.endpoint or f"https://s3.{s3.region}.amazonaws.com"
    if s3.path_style:
        return f"{endpoint}/{bucket}/{prefix}".rstrip("/")
    if s3.endpoint is None:
        endpoint = endpoint.replace("://", f"://{bucket}.", 1)
    return f"{endpoint}/{prefix}".rstrip("/")


def setup_lines(config: Config) -> list[str]:
    """Return what an operator needs to know to go on from here; secrets are in it."""
    url = config.public_url
    lines = reach_lines(config)
    for name, source in config.sources.items():
        lines += [*SENDERS[source.kind].setup(f"{url}/hooks/{name}", source), ""]
    for repository in native_repositories(config):
        fqrn = repository.fqrn
        key = repository.keys / f"{fqrn}.pub"
        bucket = bucket_url(repository)
        lines += [
            f"Mount {fqrn}: install {key} on the client, and write into",
            f"/etc/cvmfs/config.d/{fqrn}.conf",
            f"  CVMFS_SERVER_URL={bucket or f'{url}/cvmfs/@fqrn@'}",
            "  CVMFS_HTTP_PROXY=DIRECT",
            f"  CVMFS_PUBLIC_KEY=/etc/cvmfs/keys/{fqrn}.pub",
            "",
        ]
        if bucket is not None:
            lines[-1:] = [
                "Clients read the bucket itself, it is not served from here:",
                f"everybody must be allowed to get objects under {repository.storage}/",
                "",
            ]
    lines.append(f"The policy says what is published: {config.policy}")
    if config.operator.tokens:
        lines.append(f"The operator's token: {config.operator.tokens[0].reveal()}")
    return lines


def reach_lines(config: Config) -> list[str]:
    """Return where everything is, and who can reach it by the URLs that are printed."""
    lines = [
        f"cvmfs-webhook: {config.public_url}/",
        "For the other commands (status, publish, …), wherever you are:",
        f"  {shlex.join(['export', f'CVMFS_WEBHOOK_CONFIG={config.path}'])}",
        "",
    ]
    if config.listen.startswith(("127.", "localhost:", "[::1]")):
        lines += [
            "Only this machine can reach it: set `listen` and `public_url` in",
            f"{config.path} before you paste these URLs elsewhere.",
            "",
        ]
    return lines


def setup_json(config: Config) -> dict[str, object]:
    """Return the same for scripts."""
    url = config.public_url
    tokens = config.operator.tokens
    return {
        "url": f"{url}/",
        "sources": {
            name: {
                "kind": source.kind,
                "url": f"{url}/hooks/{name}",
                "secret": source.secrets[0].reveal(),
                "setup": SENDERS[source.kind].setup(f"{url}/hooks/{name}", source),
            }
            for name, source in config.sources.items()
        },
        "repositories": {
            repository.fqrn: {
                "server_url": bucket_url(repository) or f"{url}/cvmfs/@fqrn@",
                "public_key": str(repository.keys / f"{repository.fqrn}.pub"),
            }
            for repository in native_repositories(config)
        },
        "policy": str(config.policy),
        "operator_token": tokens[0].reveal() if tokens else None,
    }
