"""What a worker or reconciler does every hour, for a repository in a bucket, too."""

import time
from pathlib import Path

from tests.support.repositories.repository_builders import keys, save_keys
from tests.support.repositories.s3_server import (
    ACCESS_KEY,
    BUCKET,
    PREFIX,
    SECRET_KEY,
    s3_server,
)
from workers.care.chores import care_for_repositories
from workers.care.repository import create_repository
from workers.config import Config, RepositoryConfig, S3Config, Secret
from workers.cvmfs.signing.whitelist import fingerprint, write_whitelist
from workers.cvmfs.storage.storage import WHITELIST
from workers.wiring import open_repository, open_storage

FQRN = "unpacked.example.org"
DAY = 24 * 3600


def test_a_whitelist_in_a_bucket_is_renewed(tmp_path: Path) -> None:
    ring = keys(FQRN)
    save_keys(ring, tmp_path / "keys")
    assert ring.master_key is not None
    with s3_server() as server:
        repository = RepositoryConfig(
            FQRN,
            f"s3://{BUCKET}/{PREFIX}",
            keys=tmp_path / "keys",
            s3=S3Config(
                server.url,
                access_key=Secret(ACCESS_KEY),
                secret_key=Secret(SECRET_KEY),
            ),
        )
        config = Config(state=tmp_path, repositories={FQRN: repository})
        create_repository(config, FQRN, is_again=True)
        old = write_whitelist(
            FQRN,
            [fingerprint(ring.certificate)],
            ring.master_key,
            now=int(time.time()) - 29 * DAY,
        )
        open_storage(config, FQRN).replace(WHITELIST, old)
        care_for_repositories(config)
        ends = open_repository(config, FQRN).whitelist().ends
    assert ends > time.time() + 29 * DAY
