"""A registry behind TLS that has one image."""

from collections.abc import Iterator

import pytest

from tests.support.registries.certificates import ServerCertificate, make_certificate
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.pulls import IMAGE, NAME


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_registry(certificate: ServerCertificate) -> Iterator[FakeRegistry]:
    with FakeRegistry(tls=certificate) as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        yield registry
