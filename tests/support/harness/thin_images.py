"""A workshop whose thin images go to a registry of their own."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.harness.jobs import FQRN, Workshop, workshop_on
from tests.support.harness.redis_server import RedisServer
from tests.support.images.oci import Image, digest_of, tar_of
from tests.support.registries.fake_registry import FakeRegistry
from workers.formats.flat import RECEIPT
from workers.formats.paths import metadata_path
from workers.formats.receipt import Receipt, read_receipt, receipt_bytes
from workers.formats.thin_manifest import read_thin
from workers.ledger import RunRecord
from workers.publishing.plan import Fence, FileAt, Plan
from workers.reference import Reference, ReferenceTemplate
from workers.registry import RegistryAccess, RegistryClient

NAME = "atlas/analysis:v1"
THIN = "thin/atlas/analysis"
TEMPLATE = "thin/{repository}:{tag}"
SAME_FOLDER = "thin/{repository}:{tag}-thin"
ELSEWHERE = "elsewhere/{repository}:{tag}"
FIRST = [tar_of({"motd": b"first"})]
SECOND = [tar_of({"motd": b"second"}), tar_of({"more": b""})]


@contextmanager
def thin_shop(server: RedisServer, folder: Path, host: str) -> Iterator[Workshop]:
    """Give a workshop whose thin images go to the registry at ``host``."""
    with workshop_on(server, folder) as shop:
        source = shop.registry.host
        username, password = shop.registry.credentials
        accesses = {
            source: RegistryAccess(
                source, plain_http=True, username=username, password=password
            ),
            host: RegistryAccess(host, plain_http=True),
        }
        with RegistryClient(accesses, internal_hosts=frozenset(accesses)) as client:
            shop.services = dataclasses.replace(shop.services, registry=client)
            name_thin(shop, f"{host}/{TEMPLATE}")
            shop.allow(formats="[thin]")
            yield shop


def name_thin(shop: Workshop, template: str | None) -> None:
    """Change in the configuration what thin images are called."""
    config = shop.services.config
    repository = dataclasses.replace(
        config.repositories[FQRN],
        thin=None if template is None else ReferenceTemplate.parse(template),
    )
    config = dataclasses.replace(config, repositories={FQRN: repository})
    shop.services = dataclasses.replace(shop.services, config=config)


def push(shop: Workshop, layers: list[bytes]) -> Image:
    return shop.registry.push_image("atlas/analysis", "v1", layers)


def publish(shop: Workshop, layers: list[bytes]) -> Image:
    image = push(shop, layers)
    shop.publish(NAME)
    return image


def look(shop: Workshop) -> RunRecord:
    shop.want(NAME)
    return shop.run(NAME)


def order(shop: Workshop, order: str) -> RunRecord:
    """Have done what the operator asks for."""
    shop.ledger.request(shop.reference(NAME), source="operator", order=order)
    return shop.run(NAME)


def reference(shop: Workshop) -> Reference:
    return Reference.parse(shop.reference(NAME))


def receipt(shop: Workshop) -> Receipt:
    return read_receipt(shop.services.publishers[FQRN], reference(shop))


def rewrite_receipt(shop: Workshop, said: Receipt) -> None:
    """Replace a receipt, as if another version of ours had written it."""
    path = metadata_path(reference(shop)) + b"/" + RECEIPT
    plan = Plan(NAME, (FileAt(path, receipt_bytes(said)),))
    shop.services.publishers[FQRN].publish([plan], Fence(lambda: None))


def is_published(shop: Workshop) -> bool:
    folder = metadata_path(reference(shop))
    return shop.repository.read().lookup(folder) is not None


def stands_for(target: FakeRegistry, image: Image, tag: str = "v1") -> bool:
    """Tell whether the thin image under a tag has the layers of an image."""
    manifest, _ = target._manifests[THIN, target.tags_of(THIN)[tag]]
    (layer,) = json.loads(manifest)["layers"]
    said = read_thin(target._blobs[THIN, layer["digest"]])
    assert said is not None
    digests = [digest_of(each.blob).partition(":")[2] for each in image.layers]
    return [url.split("/")[-2] for url in said.urls] == digests
