"""What manifests, indexes and configs say, and which of them are no images."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images.oci import (
    CONFIG_TYPE,
    INDEX_TYPE,
    Image,
    Kind,
    Layer,
    build_image,
    build_index,
    digest_of,
    gzip_layer,
    plain_layer,
    zstd_layer,
)
from workers.images.manifest import (
    Descriptor,
    ImageConfig,
    ImageManifest,
    choose_platform,
    parse_config,
    parse_manifest,
)
from workers.images.platforms import Platform
from workers.images.rejected import ImageRejected

LINUX = Platform.parse("linux/amd64")
KINDS = pytest.mark.parametrize("kind", ["oci", "docker"])


def refused(match: str, document: object) -> None:
    with pytest.raises(ImageRejected, match=match):
        parse_manifest(json.dumps(document).encode())


def manifest_of(**changes: object) -> dict[str, object]:
    document: dict[str, object] = json.loads(build_image([b"layer"]).manifest)
    document |= changes
    return document


# Manifests.


@KINDS
def test_a_manifest_names_its_config_and_its_layers(kind: Kind) -> None:
    image = build_image(
        [gzip_layer(b"one", kind), plain_layer(b"two", kind)], kind=kind
    )
    assert parse_manifest(image.manifest) == ImageManifest(
        Descriptor(CONFIG_TYPE[kind], image.config_digest, len(image.config)),
        tuple(
            Descriptor(layer.media_type, digest_of(layer.blob), len(layer.blob))
            for layer in image.layers
        ),
    )


def test_zstd_layers_are_layers() -> None:
    docker = "application/vnd.docker.image.rootfs.diff.tar.zstd"
    layer = zstd_layer(b"tar")
    for media_type in (layer.media_type, docker):
        image = build_image([Layer(layer.blob, media_type, layer.diff_id)])
        [found] = parse_manifest(image.manifest).layers
        assert found.media_type == media_type


def test_an_image_of_no_layers_is_refused() -> None:
    refused("has no layers", manifest_of(layers=[]))


@pytest.mark.parametrize(
    ("media_type", "match"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted layers"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", "foreign layers"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign layers"),
        ("application/vnd.oci.image.layer.v1.tar+lz4", "unknown type"),
        ("application/vnd.oci.empty.v1+json", "unknown type"),
        ("application/vnd.dev.cosign.simplesigning.v1+json", "unknown type"),
        ("", "unknown type"),
        ("\n\x1b[31m\ud800" + "x" * 9999, "unknown type"),
    ],
    ids=lambda value: value[:60],
)
def test_layers_that_nobody_may_publish_are_refused(
    media_type: str, match: str
) -> None:
    layer = Layer(b"blob", media_type, digest_of(b"tar"))
    with pytest.raises(ImageRejected, match=match) as caught:
        parse_manifest(build_image([layer]).manifest)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "config_type",
    [
        "application/vnd.cncf.helm.config.v1+json",
        "application/vnd.oci.empty.v1+json",
        "application/vnd.wasm.config.v0+json",
        "",
    ],
)
def test_artifacts_are_refused_by_their_kind(config_type: str) -> None:
    config = {"mediaType": config_type, "digest": digest_of(b""), "size": 0}
    refused("no container image but an artifact", manifest_of(config=config))
    refused(
        "an artifact: 'application/spdx",
        manifest_of(config=config, artifactType="application/spdx+json"),
    )


GOOD = {"mediaType": CONFIG_TYPE["oci"], "digest": digest_of(b""), "size": 0}


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None},
        {"config": []},
        {"layers": None},
        {"layers": {}},
        {"layers": ["text"]},
        {"config": {**GOOD, "size": -1}},
        {"config": {**GOOD, "size": 1 << 63}},
        {"config": {**GOOD, "size": True}},
        {"config": {**GOOD, "size": "9"}},
        {"config": {**GOOD, "size": 1.5}},
        {"config": {**GOOD, "digest": "sha256:short"}},
        {"config": {**GOOD, "digest": "md5:" + "0" * 32}},
        {"config": {**GOOD, "digest": "sha256:" + "A" * 64}},
        {"config": {**GOOD, "digest": f"{digest_of(b'')}\n"}},
        {"config": {**GOOD, "digest": None}},
    ],
)
def test_a_manifest_at_odds_with_its_schema_is_refused(
    changes: dict[str, object],
) -> None:
    refused("the image", manifest_of(**changes))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b'{"layers": ' + b"9" * 5000 + b"}",
        build_index([]).manifest,
    ],
    ids=range(9),
)
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(ImageRejected):
        parse_manifest(raw)
    with pytest.raises(ImageRejected):
        parse_config(raw, 1)
    with pytest.raises(ImageRejected):
        choose_platform(raw, LINUX)


# Platforms.


def index_of(*entries: dict[str, object]) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


def entry(image: Image, **changes: object) -> dict[str, object]:
    document: dict[str, object] = {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.manifest),
    }
    return document | changes


def test_an_empty_index_is_refused() -> None:
    with pytest.raises(ImageRejected, match="no platform linux/amd64; it has none"):
        choose_platform(build_index([]).manifest, LINUX)


def test_attestations_and_nested_indexes_are_no_platforms() -> None:
    unknown = {"os": "unknown", "architecture": "unknown"}
    amd64 = {"os": "linux", "architecture": "amd64"}
    marked = {"vnd.docker.reference.type": "attestation-manifest"}
    wanted = build_image([b"wanted"])
    index = index_of(
        entry(build_image([b"1"]), platform=unknown, annotations=marked),
        entry(build_image([b"2"]), platform=unknown),
        entry(build_image([b"3"]), platform=amd64, annotations=marked),
        entry(build_image([b"4"]), platform=amd64, mediaType=INDEX_TYPE["oci"]),
        entry(wanted, platform=amd64),
    )
    assert choose_platform(index, LINUX).digest == wanted.digest


def test_the_only_image_without_a_platform_is_taken_and_its_config_asked() -> None:
    image = build_image([b"x"])
    other = entry(image, platform={"os": "linux", "architecture": "s390x"})
    assert choose_platform(index_of(other, entry(image)), LINUX).digest == image.digest
    with pytest.raises(ImageRejected, match="no platform"):
        choose_platform(index_of(entry(image), entry(build_image([b"y"]))), LINUX)


def test_what_an_index_calls_its_platforms_cannot_disturb_a_page() -> None:
    hostile = {"os": "\n\ud800\x1b", "architecture": "<b>" * 9999}
    with pytest.raises(ImageRejected, match="no platform") as caught:
        choose_platform(index_of(entry(build_image([b"x"]), platform=hostile)), LINUX)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


# Configs.


def test_a_config_says_how_the_image_runs() -> None:
    said = {
        "Env": ["PATH=/bin", "EMPTY=", "BARE"],
        "Entrypoint": ["/run", "--"],
        "Cmd": [""],
        "Labels": {"a": "b"},
        "WorkingDir": "/work",
        "User": "nobody",
    }
    image = build_image([b"one", b"two"], config={"config": said, "history": [{}]})
    assert parse_config(image.config, 2) == ImageConfig(
        LINUX,
        (digest_of(b"one"), digest_of(b"two")),
        ("PATH=/bin", "EMPTY=", "BARE"),
        ("/run", "--"),
        ("",),
        {"a": "b"},
    )


@pytest.mark.parametrize("settings", [None, {}, {"Env": None, "Cmd": None}])
def test_a_config_may_leave_most_things_out(settings: object) -> None:
    image = build_image([b"x"], config={"config": settings})
    config = parse_config(image.config, 1)
    assert (config.environment, config.entrypoint, config.command) == ((), (), ())
    assert config.labels == {}


def test_halves_of_surrogate_pairs_become_what_go_makes_of_them() -> None:
    image = build_image(
        [b"x"], config={"config": {"Env": ["A=\ud83d", "B=\U0001f600"]}}
    )
    assert parse_config(image.config, 1).environment == ("A=\ufffd", "B=\U0001f600")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"rootfs": None}, "rootfs is missing"),
        ({"rootfs": {"diff_ids": []}}, "names 0 layers, its manifest 1"),
        ({"rootfs": {"diff_ids": ["a", "b"]}}, "names 2 layers, its manifest 1"),
        ({"rootfs": {"diff_ids": ["sha256:x"]}}, "digest"),
        ({"rootfs": {"diff_ids": [1]}}, "no text"),
        ({"config": ["x"]}, "config.config"),
        ({"config": {"Env": "PATH=/bin"}}, "config.Env"),
        ({"config": {"Cmd": [["nested"]]}}, "config.Cmd"),
        ({"config": {"Entrypoint": {"a": "b"}}}, "config.Entrypoint"),
        ({"config": {"Env": ["A=\0"]}}, "NUL"),
        ({"config": {"Cmd": ["a\0b"]}}, "NUL"),
        ({"config": {"Labels": ["a"]}}, "config.Labels"),
    ],
)
def test_a_config_at_odds_with_its_schema_is_refused(
    config: dict[str, object], match: str
) -> None:
    with pytest.raises(ImageRejected, match=match):
        parse_config(build_image([b"x"], config=config).config, 1)


# Anything at all.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "config",
                    "layers",
                    "manifests",
                    "platform",
                    "annotations",
                    "rootfs",
                    "diff_ids",
                    "Env",
                    "Labels",
                    "mediaType",
                    "digest",
                    "size",
                    "os",
                    "architecture",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(st.one_of(st.binary(max_size=200), JSON.map(lambda x: json.dumps(x).encode())))
def test_any_document_is_read_or_refused(raw: bytes) -> None:
    for read in (
        lambda: parse_manifest(raw),
        lambda: parse_config(raw, 1),
        lambda: choose_platform(raw, LINUX),
    ):
        with contextlib.suppress(ImageRejected):
            read()
