"""A registry on loopback that holds one image, and a client of it."""

from collections.abc import Iterator

import pytest

from tests.support.registries.fake_registry import FakeRegistry
from tests.support.registries.one_image import IMAGE, NAME, open_client
from workers.reference import Reference
from workers.registry import RegistryClient


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.hold_image(NAME, "v1", IMAGE)
        yield registry


@pytest.fixture
def client(registry: FakeRegistry) -> Iterator[RegistryClient]:
    with open_client(registry) as client:
        yield client


@pytest.fixture
def reference(registry: FakeRegistry) -> Reference:
    return Reference.parse(f"{registry.host}/{NAME}:v1")
