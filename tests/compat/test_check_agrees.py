"""Our check and the real one agree: on what is sound, and on what is not."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.damage.all_damages import ALL_DAMAGES
from tests.support.damage.damage import Damage
from tests.support.damage.editable_repository import (
    EditableRepository,
    sound_repository,
)
from tests.support.repositories.folder_over_http import serve_folder
from tests.support.repositories.repository_builders import FQRN, keys
from workers.cvmfs.signing.whitelist import fingerprint, write_whitelist
from workers.cvmfs.storage.storage import WHITELIST

StockCheck = Callable[[EditableRepository], subprocess.CompletedProcess[str]]

SWISSKNIFE = shutil.which("cvmfs_swissknife")

pytestmark = pytest.mark.skipif(
    SWISSKNIFE is None, reason="cvmfs_swissknife is not on PATH"
)


@pytest.fixture
def bench() -> EditableRepository:
    """Return a repository whose whitelist holds today, by the clock of the machine."""
    bench = sound_repository()
    master_key = keys().master_key
    assert master_key is not None
    bench.files[WHITELIST] = write_whitelist(
        FQRN, [fingerprint(keys().certificate)], master_key, now=int(time.time())
    )
    return bench


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Serve a directory over HTTP; return it and where."""
    directory = tmp_path_factory.mktemp("www")
    with serve_folder(directory) as url:
        yield directory, url


@pytest.fixture
def stock_check(www: tuple[Path, str], tmp_path: Path) -> StockCheck:
    """Return the real check, which asks as a client far away would."""
    assert SWISSKNIFE is not None
    command = [SWISSKNIFE, "check", "-c", "-N", FQRN, "-t", str(tmp_path)]
    key = tmp_path / "repository.pub"
    key.write_bytes(
        keys().public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    directory, url = www

    def ask(bench: EditableRepository) -> subprocess.CompletedProcess[str]:
        bench.write(directory / tmp_path.name / FQRN)
        return subprocess.run(
            [*command, "-k", str(key), "-r", f"{url}/{tmp_path.name}/{FQRN}"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=60,
        )

    return ask


def test_the_real_check_finds_nothing_in_what_we_write(
    bench: EditableRepository, stock_check: StockCheck
) -> None:
    answer = stock_check(bench)

    assert answer.returncode == 0, answer.stderr
    assert "no problems found" in answer.stdout


@pytest.mark.parametrize(
    "damage",
    [damage for damage in ALL_DAMAGES if damage.stock is not None],
    ids=lambda damage: damage.name,
)
def test_the_real_check_agrees(
    bench: EditableRepository, stock_check: StockCheck, damage: Damage
) -> None:
    damage.do(bench)

    answer = stock_check(bench)

    assert (answer.returncode != 0) == damage.stock, answer.stdout + answer.stderr
