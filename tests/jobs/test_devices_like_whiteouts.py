"""A character device 0:0 in an image is a device there, and a whiteout to an overlay.

The flat tree shows it as the device that it is. In a layer's directory it is what it
would be where Docker unpacked the layer: an overlay takes it for a whiteout.
"""

import json
import stat

import pytest

from tests.support.harness.jobs import JobRunner
from tests.support.images import tars
from tests.support.images.oci import digest_of, gzip_layer
from workers.formats.paths import image_path, layer_path
from workers.reference import Reference

BARE = tars.character_device(b"d/name", 0, 0, mode=0, mtime=0)
DRESSED = tars.character_device(b"d/name", 0, 0, mode=0o600, uid=1, mtime=7)
BELOW = [
    tars.directory(b"./", mtime=1),
    tars.directory(b"d", mtime=1),
    tars.file(b"d/name", b"1", mtime=1),
]
UPPERS = {
    "alone": [BARE],
    "dressed": [DRESSED],
    "beside its whiteout": [tars.whiteout(b"d/name"), BARE],
    "before its whiteout": [BARE, tars.whiteout(b"d/name")],
    "dressed beside its whiteout": [tars.whiteout(b"d/name"), DRESSED],
    "beside another's whiteout": [tars.whiteout(b"d/other"), BARE],
}


@pytest.mark.parametrize("upper", UPPERS)
def test_an_image_with_a_device_like_a_whiteout_is_published_and_read_back(
    runner: JobRunner, upper: str
) -> None:
    """The second image is put together from the first one's published layers."""
    entries = UPPERS[upper]
    layers = [gzip_layer(tars.tar(*BELOW)), gzip_layer(tars.tar(*entries))]
    for tag in ("first", "second"):
        config = {"author": tag}
        runner.registry.push_image("atlas/devices", tag, layers, config=config)
        runner.publish(f"atlas/devices:{tag}")
        snapshot = runner.repository.read()
        path = image_path(Reference.parse(runner.reference(f"atlas/devices:{tag}")))
        device = snapshot.lookup(snapshot.resolve(path) + b"/d/name")
        assert device is not None
        assert (stat.S_IFMT(device.mode), device.device) == (stat.S_IFCHR, 0)
    asked = runner.registry.seen("GET", f"/blobs/{digest_of(layers[1].blob)}")
    assert len(asked) == 1


def test_the_record_of_a_layer_names_such_devices_only_where_there_are_some(
    runner: JobRunner,
) -> None:
    layers = [gzip_layer(tars.tar(*BELOW)), gzip_layer(tars.tar(*UPPERS["alone"]))]
    layers.append(gzip_layer(tars.tar(*UPPERS["beside its whiteout"])))
    runner.registry.push_image("atlas/devices", "v1", layers)
    runner.publish("atlas/devices:v1")
    snapshot = runner.repository.read()
    found = []
    for layer in layers:
        path = layer_path(digest_of(layer.blob)) + b"/.metadata/blob.json"
        record = snapshot.lookup(path)
        assert record is not None
        found.append(json.loads(snapshot.read(record)).get("devices"))
    assert found == [None, None, {"d": ["name"]}]
