"""The client against the registry that most of the world runs, filled by skopeo."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.images.oci import (
    build_image,
    build_index,
    digest_of,
    tar_of,
    write_layout,
)
from tests.support.registries.distribution import distribution_registry
from tests.support.tools.skopeo import skopeo_copy
from workers.media_types import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from workers.reference import Reference
from workers.registry import (
    AccessDenied,
    DeletionRefused,
    ImageNotFound,
    RegistryAccess,
    RegistryClient,
)

# Random, so that the layer is as large as it looks.
IMAGE = build_image([tar_of({"data": os.urandom(3_000_000)}), tar_of({"b": b"b"})])
ARM = build_image([tar_of({"c": b"c"})], platform="linux/arm64")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    write_layout(folder / "image", "v1", IMAGE)
    write_layout(folder / "index", "v1", build_index([IMAGE, ARM]))
    with distribution_registry(folder / "registry") as host:
        image = f"oci:{folder}/image:v1"
        skopeo_copy(image, f"docker://{host}/atlas/analysis:v1")
        skopeo_copy(image, f"docker://{host}/atlas/docker:v1", "--format=v2s2")
        index = f"oci:{folder}/index:v1"
        skopeo_copy(index, f"docker://{host}/atlas/multi:v1", "--all")
        yield host


@pytest.fixture
def client(host: str) -> Iterator[RegistryClient]:
    access = {host: RegistryAccess(host, plain_http=True)}
    with RegistryClient(access, internal_hosts=frozenset({host})) as client:
        yield client


def _reference(host: str, name: str = "atlas/analysis:v1") -> Reference:
    return Reference.parse(f"{host}/{name}")


def test_a_pushed_image_is_resolved_and_fetched_whole(
    client: RegistryClient, host: str
) -> None:
    reference = _reference(host)
    found = client.resolve(reference)
    assert found.digest == IMAGE.digest
    assert found.media_type == OCI_MANIFEST
    fetched = client.manifest(reference, found.digest, size=found.size)
    assert fetched.raw == IMAGE.manifest
    for blob in IMAGE.blobs:
        with client.blob(reference, digest_of(blob), len(blob)) as stream:
            assert stream.read() == blob
    assert client.is_public(reference)


def test_docker_schema_2_is_read_as_well(client: RegistryClient, host: str) -> None:
    reference = _reference(host, "atlas/docker:v1")
    found = client.resolve(reference)
    fetched = client.manifest(reference)
    assert found.media_type == fetched.media_type == DOCKER_MANIFEST
    assert found.digest == digest_of(fetched.raw)


def test_an_index_leads_to_its_platforms(client: RegistryClient, host: str) -> None:
    reference = _reference(host, "atlas/multi:v1")
    assert client.resolve(reference).media_type == OCI_INDEX
    children = json.loads(client.manifest(reference).raw)["manifests"]
    fetched = [
        client.manifest(reference, child["digest"], size=child["size"]).raw
        for child in children
    ]
    assert fetched == [IMAGE.manifest, ARM.manifest]


def test_its_tags_are_listed(client: RegistryClient, host: str) -> None:
    assert list(client.tags(_reference(host))) == ["v1"]


def test_its_repositories_are_listed(client: RegistryClient, host: str) -> None:
    assert "atlas/analysis" in list(client.repositories(host, None))


@pytest.mark.parametrize(
    "name",
    [
        "atlas/analysis:v2",
        "atlas/none:v1",
        f"atlas/analysis@{digest_of(b'no such manifest')}",
    ],
)
def test_what_was_never_pushed_is_not_found(
    client: RegistryClient, host: str, name: str
) -> None:
    reference = _reference(host, name)
    with pytest.raises(ImageNotFound):
        client.resolve(reference)
    with pytest.raises(ImageNotFound, match=r"\(MANIFEST_UNKNOWN: manifest unknown\)"):
        client.manifest(reference)


def test_a_blob_that_was_never_pushed_is_not_found(
    client: RegistryClient, host: str
) -> None:
    with (
        pytest.raises(ImageNotFound, match="BLOB_UNKNOWN"),
        client.blob(_reference(host), digest_of(b"none"), 4),
    ):
        pass


def test_tags_of_an_unknown_repository_are_not_found(
    client: RegistryClient, host: str
) -> None:
    with pytest.raises(ImageNotFound, match="NAME_UNKNOWN"):
        list(client.tags(_reference(host, "no/such")))


# The password is s3cret, hashed once by crypt(3) with bcrypt at its lowest cost.
HTPASSWD = "robot:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"


def test_a_password_is_needed_where_the_registry_wants_one(tmp_path: Path) -> None:
    write_layout(tmp_path / "image", "v1", IMAGE)
    with distribution_registry(tmp_path / "registry", htpasswd=HTPASSWD) as host:
        skopeo_copy(
            f"oci:{tmp_path}/image:v1",
            f"docker://{host}/atlas/analysis:v1",
            "--dest-creds=robot:s3cret",
        )
        reference = _reference(host)
        hosts = frozenset({host})
        open_access = RegistryAccess(host, plain_http=True)
        with (
            RegistryClient({host: open_access}, internal_hosts=hosts) as anonymous,
            pytest.raises(AccessDenied),
        ):
            anonymous.resolve(reference)
        access = RegistryAccess(
            host, plain_http=True, username="robot", password="s3cret"
        )
        with RegistryClient({host: access}, internal_hosts=hosts) as client:
            assert client.resolve(reference).digest == IMAGE.digest
            assert client.manifest(reference).raw == IMAGE.manifest
            assert not client.is_public(reference)


OTHER = build_image([tar_of({"motd": b"bye"})])
NAME = "thin/analysis"


@contextmanager
def client_of(host: str) -> Iterator[RegistryClient]:
    access = {host: RegistryAccess(host, plain_http=True)}
    with RegistryClient(access, internal_hosts=frozenset({host})) as client:
        yield client


def push(client: RegistryClient, reference: Reference) -> None:
    client.push(reference, IMAGE.blobs, IMAGE.manifest, IMAGE.media_type)


def test_an_image_is_taken_out_and_can_come_back(tmp_path: Path) -> None:
    with distribution_registry(tmp_path) as host, client_of(host) as client:
        reference = Reference.parse(f"{host}/{NAME}:v1")
        other = replace(reference, tag="v2")
        push(client, reference)
        client.push(other, OTHER.blobs, OTHER.manifest, OTHER.media_type)
        client.delete(reference, IMAGE.digest)
        with pytest.raises(ImageNotFound):
            client.resolve(reference)
        assert client.resolve(other).digest == OTHER.digest
        client.delete(reference, IMAGE.digest)
        push(client, reference)
        assert client.resolve(reference).digest == IMAGE.digest


def test_no_other_tag_of_the_same_image_goes(tmp_path: Path) -> None:
    with distribution_registry(tmp_path) as host, client_of(host) as client:
        reference = Reference.parse(f"{host}/{NAME}:v1")
        push(client, reference)
        push(client, replace(reference, tag="copy"))
        with pytest.raises(DeletionRefused, match="copy is the same image"):
            client.delete(reference, IMAGE.digest)
        assert sorted(client.tags(reference)) == ["copy", "v1"]


def test_a_registry_that_deletes_nothing_says_so(tmp_path: Path) -> None:
    with (
        distribution_registry(tmp_path, deletes=False) as host,
        client_of(host) as client,
    ):
        reference = Reference.parse(f"{host}/{NAME}:v1")
        push(client, reference)
        with pytest.raises(DeletionRefused, match=r"405 \(UNSUPPORTED.*enable deletes"):
            client.delete(reference, IMAGE.digest)
        assert client.resolve(reference).digest == IMAGE.digest


def test_a_catalog_is_listed_whatever_a_page_of_it_may_have(tmp_path: Path) -> None:
    names = [f"atlas/image{number}" for number in range(5)]
    with distribution_registry(tmp_path, most_names=2) as host:
        access = RegistryAccess(host, plain_http=True)
        with RegistryClient({host: access}, internal_hosts=frozenset({host})) as client:
            for name in names:
                reference = Reference.parse(f"{host}/{name}:v1")
                image = build_image([tar_of({"etc/motd": name.encode()})])
                client.push(reference, image.blobs, image.manifest, image.media_type)
            assert list(client.repositories(host, None)) == names
