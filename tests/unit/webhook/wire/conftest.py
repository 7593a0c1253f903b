"""A server with pages that are slow, large or broken."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.http_server import (
    Pages,
    RunningHttpServer,
    run_http_server,
)


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    return Pages(tmp_path)


@pytest.fixture
def server(pages: Pages) -> Iterator[RunningHttpServer]:
    with run_http_server(pages.app) as made:
        yield made
