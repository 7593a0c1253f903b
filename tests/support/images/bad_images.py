"""Images that must not be published, each with what its author has to read.

A case puts something into a registry, under a name that it is given, and says how it
must end. ``BAD_IMAGES`` has them by name; the name is the repository ``bad/<name>``.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.support.images import tars
from tests.support.images.bombs import BOMBS
from tests.support.images.oci import (
    GZIP_LAYER_TYPE,
    Image,
    Layer,
    build_image,
    digest_of,
    gzip_layer,
    plain_layer,
    tar_of,
)
from tests.support.registries.fake_registry import FakeRegistry

Put = Callable[[FakeRegistry, str], None]

TAG = "v1"
GOOD_TAR = tar_of({"etc/motd": b"hello", "usr/bin/tool": bytes(range(256)) * 999})
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# Rules that the cases need; HOST is the registry.
POLICY = """\
  - allow: "HOST/bad/too-many-files"
    limits: {files: 1}
  - allow: "HOST/bad/too-large"
    limits: {size: 1000}
  - allow: "HOST/bad/bomb"
    limits: {size: 1MB}
  - allow: "HOST/bad/too-many-layers"
    limits: {layers: 2}
  - allow: "HOST/bad/no-label"
    require_label: {org.cvmfs.publish: "true"}
  - deny: "HOST/bad/denied"
    reason: not a namespace of the experiment
  - allow: "HOST/good/private"
    private: allow
"""


@dataclass(frozen=True, slots=True)
class BadImage:
    """One case.

    Attributes:
        put: puts it into the registry.
        words: all of them stand in the reason.
        state: how it ends.
        may_pass: it is tried again a few times.
    """

    put: Put
    words: tuple[str, ...]
    state: str = "failed"
    may_pass: bool = False


def layers(*given: bytes | Layer, **more: object) -> Put:
    """Put an image of these layers."""

    def put(registry: FakeRegistry, name: str) -> None:
        config = more.get("config")
        assert config is None or isinstance(config, dict)
        registry.push_image(name, TAG, given, config=config)

    return put


def _manifest(raw: bytes, media_type: str = MANIFEST_TYPE) -> Put:
    return lambda registry, name: _push_manifest(registry, name, raw, media_type)


def _push_manifest(
    registry: FakeRegistry, name: str, raw: bytes, media_type: str
) -> None:
    registry.push_manifest(name, TAG, raw, media_type)


def _image(image: Image) -> Put:
    return lambda registry, name: registry.hold_image(name, TAG, image)


def _typed(media_type: str) -> Put:
    tar = GOOD_TAR
    return layers(Layer(gzip.compress(tar, mtime=0), media_type, digest_of(tar)))


def _damaged(blob: bytes) -> Put:
    return layers(Layer(blob, GZIP_LAYER_TYPE["oci"], digest_of(GOOD_TAR)))


def _bomb(name: str) -> Put:
    return layers(gzip_layer(gzip.decompress(BOMBS[name][0]())))


def _unique(name: str) -> bytes:
    """Return a layer that no other image has: what is published is not read again."""
    return tar_of({"name": name.encode(), "data": name.encode() * 999})


def _lying_blob(registry: FakeRegistry, name: str) -> None:
    image = registry.push_image(name, TAG, [_unique(name)])
    blob = image.layers[0].blob
    registry.push_blob(name, _flipped(blob), digest_of(blob))


def _short_blob(registry: FakeRegistry, name: str) -> None:
    image = registry.push_image(name, TAG, [_unique(name)])
    blob = image.layers[0].blob
    registry.push_blob(name, blob[:-9], digest_of(blob))


def _long_blob(registry: FakeRegistry, name: str) -> None:
    image = registry.push_image(name, TAG, [_unique(name)])
    blob = image.layers[0].blob
    registry.push_blob(name, blob + b"\0", digest_of(blob))


def _compressed_again(registry: FakeRegistry, name: str) -> None:
    """Lie where it changes nothing of what is unpacked: in the time in gzip's header.

    So umoci does in its ``hardening.bats``.
    """
    image = registry.push_image(name, TAG, [_unique(name)])
    blob = image.layers[0].blob
    again = blob[:4] + bytes([blob[4] ^ 1]) + blob[5:]
    assert gzip.decompress(again) == gzip.decompress(blob)
    registry.push_blob(name, again, digest_of(blob))


def _missing_blob(registry: FakeRegistry, name: str) -> None:
    registry.push_image(name, TAG, [GOOD_TAR])
    registry.fail("GET", f"/{name}/blobs/", status=404)


def _lying_manifest(registry: FakeRegistry, name: str) -> None:
    registry.push_image(name, TAG, [GOOD_TAR])
    lie = {"Docker-Content-Digest": digest_of(b"another")}
    registry.change_headers("HEAD", f"/{name}/manifests/", lie)
    registry.spoil(
        "GET",
        f"/{name}/manifests/sha256:",
        lambda _path, _reply: registry.right_reply(
            "GET", f"/v2/{name}/manifests/{TAG}", {}
        ),
    )


def _index_without_us(registry: FakeRegistry, name: str) -> None:
    images = [
        build_image([GOOD_TAR], platform=platform)
        for platform in ("linux/arm64", "linux/s390x")
    ]
    registry.push_index(name, TAG, images)


def _refusing(status: int) -> Put:
    def put(registry: FakeRegistry, name: str) -> None:
        registry.push_image(name, TAG, [GOOD_TAR])
        registry.fail("", f"/{name}/manifests/", status=status)

    return put


def _private(registry: FakeRegistry, name: str) -> None:
    registry.push_image(name, TAG, [GOOD_TAR])
    registry.make_private(name)


def _led_astray(url: str) -> Put:
    def put(registry: FakeRegistry, name: str) -> None:
        registry.push_image(name, TAG, [GOOD_TAR])
        registry.redirect(f"/{name}/blobs/", url)

    return put


def _artifact(config_type: str, layer_type: str) -> Put:
    image = build_image(
        [Layer(b"chart", layer_type, digest_of(b"chart"))],
        manifest={
            "config": {
                "mediaType": config_type,
                "digest": digest_of(b"{}"),
                "size": 2,
            }
        },
    )
    return _image(image)


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


_GZIPPED = gzip.compress(GOOD_TAR, mtime=0)
_SCHEMA_1 = json.dumps(
    {"schemaVersion": 1, "name": "bad/schema-1", "tag": TAG, "fsLayers": []}
).encode()
_DEEP = b"[" * 10_000 + b"]" * 10_000

BAD_IMAGES: Mapping[str, BadImage] = {
    # What a registry gives.
    "blob-of-another-digest": BadImage(
        _lying_blob, ("blob sha256:", "has other content"), may_pass=True
    ),
    "blob-too-short": BadImage(
        _short_blob, ("blob sha256:", "its descriptor promises"), may_pass=True
    ),
    "blob-too-long": BadImage(
        _long_blob, ("blob sha256:", "its descriptor promises"), may_pass=True
    ),
    "blob-compressed-again": BadImage(
        _compressed_again, ("blob sha256:", "has other content"), may_pass=True
    ),
    "blob-missing": BadImage(
        _missing_blob, ("blob sha256:", "answered 404"), may_pass=True
    ),
    "manifest-of-another-digest": BadImage(_lying_manifest, ("digest",), may_pass=True),
    "answers-401": BadImage(
        _refusing(401), ("answered 401", "credentials under"), may_pass=True
    ),
    "answers-403": BadImage(
        _refusing(403), ("answered 403", "credentials under"), may_pass=True
    ),
    "answers-404": BadImage(lambda *_: None, ("answered 404",)),
    "answers-418": BadImage(_refusing(418), ("answered 418",), may_pass=True),
    "redirected-inside": BadImage(
        _led_astray("http://169.254.169.254/latest/meta-data"),
        ("169.254.169.254", "not a public address", "under registries"),
        may_pass=True,
    ),
    # Manifests and configs.
    "index-without-us": BadImage(
        _index_without_us, ("no platform linux/amd64", "linux/arm64, linux/s390x")
    ),
    "for-another-platform": BadImage(
        _image(build_image([GOOD_TAR], platform="linux/arm64")),
        ("is for linux/arm64, not for linux/amd64",),
    ),
    "schema-1": BadImage(
        _manifest(
            _SCHEMA_1, "application/vnd.docker.distribution.manifest.v1+prettyjws"
        ),
        ("schema 1", "push the image again with a current tool"),
    ),
    "no-layers": BadImage(layers(), ("has no layers",)),
    "no-json": BadImage(_manifest(b"not json"), ("manifest", "JSON")),
    "deep-json": BadImage(_manifest(_DEEP), ("manifest", "JSON")),
    "huge-manifest": BadImage(
        _manifest(b'{"a": "' + b"x" * (5 << 20) + b'"}'), ("more than 4194304 bytes",)
    ),
    "helm-chart": BadImage(
        _artifact(
            "application/vnd.cncf.helm.config.v1+json",
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        ),
        ("no container image but an artifact", "helm"),
    ),
    "more-diff-ids-than-layers": BadImage(
        layers(
            GOOD_TAR,
            config={"rootfs": {"type": "layers", "diff_ids": [digest_of(b"")] * 2}},
        ),
        ("config names 2 layers, its manifest 1",),
    ),
    # Layers.
    "unknown-layer": BadImage(
        _typed("application/x-dreams"), ("unknown type 'application/x-dreams'",)
    ),
    "encrypted-layer": BadImage(
        _typed("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
        ("encrypted layers",),
    ),
    "foreign-layer": BadImage(
        _typed("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        ("foreign layers", "licence"),
    ),
    "gzip-cut-short": BadImage(_damaged(_GZIPPED[:-20]), ("layer 1", "cut short")),
    "gzip-corrupt": BadImage(_damaged(_flipped(_GZIPPED)), ("layer 1", "corrupt")),
    "bzip2": BadImage(_damaged(b"BZh91AY&SY" + bytes(99)), ("layer 1", "bzip2")),
    "no-tar": BadImage(layers(b"this is no tar" * 99), ("layer 1", "tar")),
    "tar-cut-short": BadImage(
        layers(GOOD_TAR[: 512 * 3]), ("layer 1", "ends in the middle")
    ),
    "second-layer-lies": BadImage(
        layers(
            tar_of({"a": b"a"}),
            Layer(_GZIPPED, GZIP_LAYER_TYPE["oci"], digest_of(b"another")),
        ),
        ("layer 2 unpacks to sha256:", "its config says sha256:"),
    ),
    "long-name": BadImage(
        layers(tars.tar(tars.gnu_name(b"etc/" + b"n" * 256, tars.file(b"cut")))),
        ("layer 1", "256 bytes between two slashes", "'etc/nnn"),
    ),
    "member-behind-a-zero-block": BadImage(
        layers(tars.file(b"a") + bytes(512) + tars.tar(tars.file(b"lost"))),
        ("layer 1", "behind a single block of zeros", "build the image again"),
    ),
    "hole-behind-a-negative-size": BadImage(
        _bomb("a hole of 1 EiB behind a negative size"),
        ("layer 1", "a sparse file of -1152921504606846976 bytes"),
    ),
    "symlinks-that-change": BadImage(
        _bomb("symlinks that change"),
        ("layer 1", "take more than", "steps to follow", "symlinks are too many"),
    ),
    # Limits, and the policy.
    "too-many-files": BadImage(
        layers(_unique("files")), ("layer 1", "more than 1 files", "its rule allows")
    ),
    "too-large": BadImage(
        layers(_unique("size")),
        ("layer 1", "larger than 1000 bytes", "its rule allows"),
    ),
    "bomb": BadImage(
        layers(gzip_layer(tar_of({"zeros": bytes(20_000_000)}))),
        ("larger than 1000000 bytes",),
    ),
    "too-many-layers": BadImage(
        layers(*(plain_layer(tar_of({f"{n}": b""})) for n in range(3))),
        ("has 3 layers, its rule allows 2",),
    ),
    "no-label": BadImage(
        layers(GOOD_TAR),
        ('LABEL org.cvmfs.publish="true"', "Dockerfile"),
        state="refused",
    ),
    "private": BadImage(_private, ("without a login", "`private: allow`"), "refused"),
    "denied": BadImage(
        layers(GOOD_TAR), ("not a namespace of the experiment",), "refused"
    ),
}
