"""Pulling one small image through a client that trusts what it is told to."""

from pathlib import Path

from tests.support.images.oci import build_image, digest_of, tar_of
from workers.reference import Reference
from workers.registry import RegistryAccess, RegistryClient, Timeouts

NAME = "atlas/analysis"
IMAGE = build_image([tar_of({"etc/motd": b"hello\n"})])


def tls_client(
    host: str, *, ca_file: Path | None = None, plain_http: bool = False
) -> RegistryClient:
    access = RegistryAccess(host, plain_http=plain_http, ca_file=ca_file)
    return RegistryClient(
        {host: access},
        internal_hosts=frozenset({host}),
        timeouts=Timeouts(connect_seconds=1, stall_seconds=5, answer_seconds=5),
        look_up=lambda _host, _port: ["127.0.0.1"],
    )


def pull(client: RegistryClient, host: str) -> None:
    reference = Reference.parse(f"{host}/{NAME}:v1")
    assert client.manifest(reference).raw == IMAGE.manifest
    layer = IMAGE.layers[0].blob
    with client.blob(reference, digest_of(layer), len(layer)) as stream:
        assert stream.read() == layer
