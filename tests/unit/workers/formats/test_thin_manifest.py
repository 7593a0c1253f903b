"""Thin images: what is made is read back, and nothing else is taken for one."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images.oci import tar_of
from workers.formats.thin_manifest import ThinImage, ThinLayer, make_thin, read_thin

ORIGIN = "https://registry.example.org/atlas/analysis:v1"
URL = "cvmfs://unpacked.example.org/.layers/aa/aaaa/layerfs"


def made(name: str = "registry.example.org/thin/analysis:v1") -> ThinImage:
    return make_thin(name, ORIGIN, [("sha256:aaaa", URL)], b'{"os": "linux"}')


def compressed(data: bytes) -> bytes:
    # Without the time, which would give a test another name each second.
    return gzip.compress(data, mtime=0)


def said(document: object) -> bytes:
    return compressed(tar_of({"thin.json": json.dumps(document).encode()}))


def test_what_is_made_is_read_back() -> None:
    assert read_thin(made().blobs[0]) == ThinLayer(ORIGIN, (URL,))


def test_another_name_makes_another_manifest_of_the_same_layer() -> None:
    image, other = made(), made("registry.example.org/thin/analysis:thin-v1")
    assert image.digest == made().digest
    assert image.digest != other.digest
    assert image.blobs[0] == other.blobs[0]


@pytest.mark.parametrize(
    "layer",
    [
        b"",
        compressed(b""),
        compressed(b"\0" * 1024),
        compressed(tar_of({"thin.json": b"no json"})),
        compressed(tar_of({"thin.json": b"[" * 100_000})),
        compressed(tar_of({"other.json": b'{"origin": "", "layers": []}'})),
        compressed(tar_of({"thin.json": b'{"origin": "", "layers": []}'})[:520]),
        said([]),
        said({"layers": []}),
        said({"origin": ORIGIN}),
        said({"origin": ORIGIN, "layers": 1}),
        said({"origin": ORIGIN, "layers": ["url"]}),
        said({"origin": ORIGIN, "layers": [{}]}),
    ],
)
def test_another_layer_is_no_thin_images(layer: bytes) -> None:
    assert read_thin(layer) is None


def test_little_of_a_bomb_is_unpacked() -> None:
    filler = {"thin.json": json.dumps({"origin": "x" * (8 << 20), "layers": []})}
    bomb = {name: text.encode() for name, text in filler.items()}
    assert read_thin(compressed(tar_of(bomb))) is None


@given(st.binary(), st.binary(), st.booleans())
def test_any_bytes_at_all_are_read_or_are_no_thin_image(
    header: bytes,
    content: bytes,
    is_named: bool,  # noqa: FBT001 - drawn
) -> None:
    read_thin(header + content)
    tar = tar_of({"thin.json": content}) if is_named else header + content
    assert read_thin(compressed(tar)) is None
