"""Jobs whose thin images go to a registry of their own."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.harness.jobs import FQRN, JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images.oci import Image, digest_of, tar_of
from tests.support.registries.fake_registry import FakeRegistry
from workers.formats.documents import RECEIPT, read_receipt
from workers.formats.paths import metadata_path
from workers.formats.receipt import Receipt
from workers.formats.thin_manifest import read_thin
from workers.ledger import RunRecord
from workers.publishing.plan import FileAt, Plan
from workers.publishing.publisher import Fence
from workers.publishing.publisher import publish as publish_plans
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
def open_thin_job_runner(
    redis_server: RedisServer, folder: Path, host: str
) -> Iterator[JobRunner]:
    """Run jobs whose thin images go to the registry at ``host``."""
    with open_job_runner(redis_server, folder) as runner:
        source = runner.registry.host
        username, password = runner.registry.credentials
        accesses = {
            source: RegistryAccess(
                source, plain_http=True, username=username, password=password
            ),
            host: RegistryAccess(host, plain_http=True),
        }
        with RegistryClient(accesses, internal_hosts=frozenset(accesses)) as client:
            runner.services = dataclasses.replace(runner.services, registry=client)
            set_thin_template(runner, f"{host}/{TEMPLATE}")
            runner.allow(formats="[thin]")
            yield runner


def set_thin_template(runner: JobRunner, template: str | None) -> None:
    """Change in the configuration what thin images are called."""
    config = runner.services.config
    repository = dataclasses.replace(
        config.repositories[FQRN],
        thin=None if template is None else ReferenceTemplate.parse(template),
    )
    config = dataclasses.replace(config, repositories={FQRN: repository})
    runner.services = dataclasses.replace(runner.services, config=config)


def push(runner: JobRunner, layers: list[bytes]) -> Image:
    return runner.registry.push_image("atlas/analysis", "v1", layers)


def publish(runner: JobRunner, layers: list[bytes]) -> Image:
    image = push(runner, layers)
    runner.publish(NAME)
    return image


def run_push(runner: JobRunner) -> RunRecord:
    """Push the name without an image, and run the job."""
    runner.want(NAME)
    return runner.run(NAME)


def run_order(runner: JobRunner, wish: str) -> RunRecord:
    """Have done what the operator asks for."""
    runner.ledger.request(runner.reference(NAME), source="operator", order=wish)
    return runner.run(NAME)


def reference(runner: JobRunner) -> Reference:
    return Reference.parse(runner.reference(NAME))


def receipt(runner: JobRunner) -> Receipt:
    tree = runner.services.publishers[FQRN].published()
    return read_receipt(tree, reference(runner))


def rewrite_receipt(runner: JobRunner, said: Receipt) -> None:
    """Replace a receipt, as if another version of ours had written it."""
    _write_receipt(runner, said.document())


def damage_receipt(runner: JobRunner, **damage: object) -> None:
    """Replace values in a receipt, whatever they are."""
    said = {**json.loads(receipt(runner).document()), **damage}
    _write_receipt(runner, json.dumps(said).encode())


def _write_receipt(runner: JobRunner, document: bytes) -> None:
    path = metadata_path(reference(runner)) + b"/" + RECEIPT
    plan = Plan(NAME, (FileAt(path, document),))
    publish_plans(runner.services.publishers[FQRN], [plan], Fence(lambda: None))


def is_published(runner: JobRunner) -> bool:
    folder = metadata_path(reference(runner))
    return runner.repository.read().lookup(folder) is not None


def thin_image_is_of(target: FakeRegistry, image: Image, tag: str = "v1") -> bool:
    """Tell whether the thin image under a tag has the layers of an image."""
    manifest, _ = target._manifests[THIN, target.tags_of(THIN)[tag]]
    (layer,) = json.loads(manifest)["layers"]
    said = read_thin(target._blobs[THIN, layer["digest"]])
    assert said is not None
    digests = [digest_of(each.blob).partition(":")[2] for each in image.layers]
    return [url.split("/")[-2] for url in said.urls] == digests
