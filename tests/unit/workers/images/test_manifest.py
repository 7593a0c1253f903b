"""What manifests, indexes and configs say, and which of them are no images."""

import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images.oci import (
    CONFIG_TYPE,
    MANIFEST_TYPE,
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


@pytest.mark.parametrize(
    "media_type", ["application/octet-stream", "text/html", "application/json", ""]
)
def test_what_old_registries_call_a_config_is_one_under_a_manifest_of_docker_s(
    media_type: str,
) -> None:
    image = build_image([b"layer"], kind="docker")
    document = json.loads(image.manifest)
    document["config"]["mediaType"] = media_type
    found = parse_manifest(json.dumps(document).encode())
    assert found.config.digest == image.config_digest
    document["mediaType"] = MANIFEST_TYPE["oci"]
    refused("no container image but an artifact", document)


@pytest.mark.parametrize(
    "media_type", ["", "application/vnd.docker.container.image.rootfs.diff+x-gtar"]
)
def test_layers_of_old_and_hand_written_manifests_are_layers(media_type: str) -> None:
    layer = gzip_layer(b"tar")
    image = build_image([Layer(layer.blob, media_type, layer.diff_id)])
    [found] = parse_manifest(image.manifest).layers
    assert found.digest == digest_of(layer.blob)


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
        ({"rootfs": None}, "names 0 layers, its manifest 1"),
        ({"rootfs": []}, "config.rootfs is or holds no object"),
        ({"rootfs": {"diff_ids": []}}, "names 0 layers, its manifest 1"),
        ({"rootfs": {"diff_ids": ["a", "b"]}}, "names 2 layers, its manifest 1"),
        ({"rootfs": {"diff_ids": ["sha256:x"]}}, "layer 1 the diff id 'sha256:x', wh"),
        ({"rootfs": {"diff_ids": [1]}}, "no text"),
        ({"rootfs": {"type": 5}}, "no text"),
        ({"config": ["x"]}, "config.config"),
        ({"config": {"Env": "PATH=/bin"}}, "config.Env"),
        ({"config": {"Cmd": [["nested"]]}}, "config.Cmd"),
        ({"config": {"Entrypoint": {"a": "b"}}}, "config.Entrypoint"),
        ({"config": {"Env": ["A=\0"]}}, "NUL"),
        ({"config": {"Cmd": ["a\0b"]}}, "NUL"),
        ({"config": {"Labels": ["a"]}}, "config.Labels"),
        ({"config": {"Labels": {"a": 1}}}, "config.Labels"),
        ({"config": {"User": 0}}, "config.User"),
        ({"config": {"WorkingDir": []}}, "config.WorkingDir"),
        ({"config": {"StopSignal": 9}}, "config.StopSignal"),
        ({"config": {"Volumes": ["/data"]}}, "config.Volumes"),
        ({"config": {"ExposedPorts": {"80/tcp": 1}}}, "config.ExposedPorts"),
        ({"os": ["linux"]}, "config.os"),
        ({"architecture": 64}, "config.architecture"),
        ({"variant": 2}, "config.variant"),
        ({"author": {}}, "config.author"),
        ({"created": "yesterday"}, "config.created"),
        ({"history": {}}, "config.history"),
        ({"history": [{"created": ""}]}, "created"),
        ({"history": [{"created_by": 1}]}, "created_by"),
        ({"history": [{"empty_layer": "yes"}]}, "empty_layer"),
    ],
)
def test_a_config_at_odds_with_its_schema_is_refused(
    config: dict[str, object], match: str
) -> None:
    with pytest.raises(ImageRejected, match=match) as caught:
        parse_config(build_image([b"x"], config=config).config, 1)
    assert "build it again" in str(caught.value)


def test_keys_of_a_config_are_found_whatever_their_case() -> None:
    """As tools that build images write them that are not written in Go."""
    document = {
        "OS": "linux",
        "Architecture": "amd64",
        "Config": {
            "env": ["A=1"],
            "ENTRYPOINT": ["/run"],
            "cmd": ["-x"],
            "labels": {"A": "b", "a": "c"},
        },
        "RootFS": {"Diff_IDs": [digest_of(b"x")]},
    }
    assert parse_config(json.dumps(document).encode(), 1) == ImageConfig(
        LINUX,
        (digest_of(b"x"),),
        ("A=1",),
        ("/run",),
        ("-x",),
        {"A": "b", "a": "c"},
    )


def test_keys_of_a_manifest_are_found_whatever_their_case() -> None:
    image = build_image([b"layer"])
    document = json.loads(image.manifest)
    shouted = {key.upper(): value for key, value in document.items()}
    shouted["CONFIG"] = {k.upper(): v for k, v in document["config"].items()}
    found = parse_manifest(json.dumps(shouted).encode())
    assert found == parse_manifest(image.manifest)


@pytest.mark.parametrize("entrypoint", [[""], [], None])
def test_a_lone_empty_entrypoint_is_none(entrypoint: object) -> None:
    image = build_image([b"x"], config={"config": {"Entrypoint": entrypoint}})
    assert parse_config(image.config, 1).entrypoint == ()
    image = build_image([b"x"], config={"config": {"Entrypoint": ["", "a"]}})
    assert parse_config(image.config, 1).entrypoint == ("", "a")


@pytest.mark.parametrize("blank", [{"os": "", "architecture": ""}, {"os": None}])
def test_what_a_config_leaves_blank_is_not_said(blank: dict[str, object]) -> None:
    config = parse_config(build_image([b"x"], config=blank).config, 1)
    assert not config.platform.is_whole
    assert config.platform.may_be(LINUX)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw + b"}",
        lambda raw: raw + b"\0",
        lambda raw: raw.decode().encode("utf-16"),
    ],
    ids=["mark", "brace", "NUL", "utf-16"],
)
def test_a_config_that_no_runtime_parses_is_refused(
    spoil: Callable[[bytes], bytes],
) -> None:
    config = build_image([b"x"]).config
    assert parse_config(config + b" \n", 1).diff_ids
    with pytest.raises(ImageRejected, match="so no runtime reads it: build it again"):
        parse_config(spoil(config), 1)


def test_diff_ids_of_another_algorithm_are_refused_by_its_name() -> None:
    rootfs = {"diff_ids": [digest_of(b"x"), f"sha512:{'0' * 128}"]}
    image = build_image([b"x", b"y"], config={"rootfs": rootfs})
    with pytest.raises(ImageRejected, match="layer 2 a diff id of sha512, which is"):
        parse_config(image.config, 2)


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
    ):
        with contextlib.suppress(ImageRejected):
            read()
