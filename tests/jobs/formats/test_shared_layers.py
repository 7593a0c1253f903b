"""What is published of a layer is a function of its blob, whoever brought it first.

What its blob alone cannot say is not under the blob's digest; an image goes live with
what it can have, and says what it has not, and why.
"""

import re
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.harness.jobs import JobRunner, open_job_runner
from tests.support.harness.redis_server import RedisServer
from tests.support.images import tars
from tests.support.images.oci import digest_of, gzip_layer
from workers.cvmfs import Change, Dirent, PutFile, RemovePath
from workers.formats.documents import read_receipt
from workers.formats.overlay_layer import OverlayForm, overlay_form
from workers.formats.paths import layer_path
from workers.images.layers.layer_tree import LayerTree
from workers.ledger import Outcome
from workers.reference import Reference

_DIRECTORY = tars.directory(b"etc")
# Two bases each, and a layer that both images have on top.
BASES = {
    "directories that it only passes through": (
        [tars.directory(b"tmp", mode=0o700, uid=7), tars.directory(b"srv", mode=0o700)],
        [tars.directory(b"tmp", mode=0o1777), tars.directory(b"srv")],
        [tars.file(b"tmp/cache/seed", b"s"), tars.file(b"srv/app/main", b"m")],
    ),
    "a root that it does not name": (
        [tars.directory(b"./", mode=0o700, uid=31337), tars.file(b"a", b"1")],
        [tars.directory(b"./"), tars.file(b"a", b"2")],
        [tars.file(b"opt/tool", b"t", mode=0o755)],
    ),
    "attributes of what it passes through": (
        [tars.xattrs({b"user.note": b"1"}, tars.directory(b"etc", mtime=5))],
        [_DIRECTORY],
        [tars.file(b"etc/hosts", b"")],
    ),
    "directories in which it only deletes": (
        [tars.directory(b"etc", mode=0o500), tars.file(b"etc/gone", b"1")],
        [_DIRECTORY],
        [tars.whiteout(b"etc/gone"), tars.whiteout(b"never/was")],
    ),
    "hard links to files of others": (
        [_DIRECTORY, tars.file(b"etc/passwd", b"attacker's", mode=0o4755)],
        [_DIRECTORY, tars.file(b"etc/passwd", b"root")],
        [tars.hard_link(b"etc/alias", b"etc/passwd")],
    ),
    "an opaque root": (
        [tars.file(b"nothing", b"1")],
        [tars.file(b"secret.key", b"s"), tars.directory(b"old"), _DIRECTORY],
        [tars.opaque(b""), tars.file(b"app/tool", b"t")],
    ),
}
APART = {
    "hard links to files of others": "it has hard links to files of the layers below",
    "an opaque root": "it deletes all that lies below it",
}


@pytest.fixture
def runner(redis_server: RedisServer, tmp_path: Path) -> Iterator[JobRunner]:
    with open_job_runner(redis_server, tmp_path) as opened:
        opened.allow(formats="[flat, layers, podman]")
        yield opened


def push(runner: JobRunner, name: str, base: list[bytes], top: list[bytes]) -> None:
    layers = [gzip_layer(tars.tar(*entries)) for entries in (base, top)]
    repository, _, tag = name.partition(":")
    runner.registry.push_image(repository, tag, layers)


def digest_of_layer(top: list[bytes]) -> str:
    return digest_of(gzip_layer(tars.tar(*top)).blob)


def shown_of_layers(runner: JobRunner) -> dict[bytes, Dirent]:
    """Return all that the repository has of layers, but for when it was published."""
    snapshot = runner.repository.read()
    found = {
        path: dirent
        for top in (b"/.layers", b"/podmanStore/overlay")
        for path, dirent in snapshot.walk(top)
        if not path.endswith(b"/.cvmfscatalog")
    }
    inside = re.compile(rb"/\.layers/../[0-9a-f]{64}.*|/podmanStore/.*/diff(/.*)?")
    return {
        path: dirent
        if inside.fullmatch(path) and not stat.S_ISLNK(dirent.mode)
        else dirent._replace(mtime=0)
        for path, dirent in found.items()
    }


@pytest.mark.parametrize("what", BASES)
def test_two_orders_of_pushing_give_the_same_bytes(
    redis_server: RedisServer, tmp_path: Path, what: str
) -> None:
    one, two, top = BASES[what]
    found = []
    for order in (("one", "two"), ("two", "one")):
        folder = tmp_path / order[0]
        folder.mkdir()
        with open_job_runner(redis_server, folder) as runner:
            runner.allow(formats="[flat, layers, podman]")
            for tag in order:
                push(runner, f"atlas/image:{tag}", one if tag == "one" else two, top)
                runner.publish(f"atlas/image:{tag}")
            found.append(shown_of_layers(runner))
            is_there = runner.repository.read().lookup(layer_path(digest_of_layer(top)))
            assert (is_there is None) == (what in APART)
    assert found[0] == found[1]


@pytest.mark.parametrize("what", APART)
def test_a_layer_that_is_nothing_alone_is_seen_by_podman_only_and_told_of(
    runner: JobRunner, what: str
) -> None:
    one, two, top = BASES[what]
    for tag, base in (("one", one), ("two", two)):
        push(runner, f"atlas/image:{tag}", base, top)
        record = runner.publish(f"atlas/image:{tag}")
        [note] = record.notes
        assert digest_of_layer(top)[:19] in note
        assert APART[what] in note
        assert "containerd pulls it" in note
        assert set(record.places) == {"flat", "layers", "podman"}
    snapshot = runner.repository.read()
    # Each image has its own, in the store only, and they differ.
    shown = [
        {name for name, _ in snapshot.listdir(path).items()}
        for path, dirent in snapshot.walk(b"/podmanStore/overlay")
        if path.endswith(b"/diff") and stat.S_ISDIR(dirent.mode)
    ]
    assert len(shown) == 2


@pytest.mark.parametrize("what", APART)
def test_another_name_of_such_an_image_fetches_nothing_and_says_the_same(
    runner: JobRunner, what: str
) -> None:
    _, base, top = BASES[what]
    push(runner, "atlas/image:v1", base, top)
    first = runner.publish("atlas/image:v1")
    push(runner, "atlas/image:v2", base, top)
    asked = len(runner.registry.seen("GET", f"/blobs/{digest_of_layer(top)}"))
    second = runner.publish("atlas/image:v2")
    assert len(runner.registry.seen("GET", f"/blobs/{digest_of_layer(top)}")) == asked
    assert second.notes == first.notes != ()
    # And can be had as layers where it was flat alone.
    runner.allow(formats="[flat]")
    runner.publish("atlas/image:v2")
    runner.allow(formats="[flat, layers, podman]")
    assert runner.publish("atlas/image:v2").notes == first.notes


def put_as_an_older_version(runner: JobRunner, digest: str) -> None:
    """Publish a layer as it was when it took from those below it what it lacks."""
    repository, place = runner.repository, layer_path(digest)
    content = repository.sink.put_bytes(b"another image's")
    record = repository.sink.put_bytes(b'{"version": 1}')
    changes: list[Change] = [
        PutFile(place + b"/layerfs/etc/theirs", content),
        PutFile(place + b"/.metadata/layer.json", record),
    ]
    if repository.read().lookup(place + b"/.metadata/blob.json") is not None:
        changes.append(RemovePath(place + b"/.metadata/blob.json"))
    repository.commit(changes, now=int(time.time()))


@pytest.mark.parametrize("what", BASES)
def test_a_layer_of_the_former_kind_is_made_again_or_goes(
    runner: JobRunner, what: str
) -> None:
    one, two, top = BASES[what]
    push(runner, "atlas/image:one", one, top)
    runner.publish("atlas/image:one")
    digest = digest_of_layer(top)
    put_as_an_older_version(runner, digest)
    push(runner, "atlas/image:two", two, top)
    runner.publish("atlas/image:two")
    snapshot = runner.repository.read()
    assert snapshot.lookup(layer_path(digest) + b"/layerfs/etc/theirs") is None
    assert (snapshot.lookup(layer_path(digest)) is None) == (what in APART)


def test_what_others_have_put_in_such_a_layers_place_stays(runner: JobRunner) -> None:
    _, base, top = BASES["an opaque root"]
    place = layer_path(digest_of_layer(top))
    content = runner.repository.sink.put_bytes(b"theirs")
    runner.repository.commit(
        [PutFile(place + b"/layerfs/theirs", content)], now=int(time.time())
    )
    push(runner, "atlas/image:v1", base, top)
    runner.publish("atlas/image:v1")
    assert runner.repository.read().lookup(place + b"/layerfs/theirs") is not None


def test_an_image_is_not_live_if_an_overlay_of_its_layers_is_another(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_deletions(layer: LayerTree) -> OverlayForm:
        return overlay_form(replace(layer, whiteouts={}))

    module = "workers.formats.format.overlay_form"
    monkeypatch.setattr(module, without_deletions)
    base = [_DIRECTORY, tars.file(b"etc/gone", b"1")]
    push(runner, "atlas/image:v1", base, [tars.whiteout(b"etc/gone")])
    runner.want("atlas/image:v1")
    run = runner.run("atlas/image:v1")
    assert run.outcome is Outcome.FAILED
    assert "published layers are not what was pushed: /etc/gone" in str(run.reason)
    assert runner.revision == 1
    monkeypatch.undo()
    runner.publish("atlas/image:v1")


def test_thin_images_need_all_layers(runner: JobRunner) -> None:
    runner.allow(formats="[flat, thin]")
    _, base, top = BASES["an opaque root"]
    push(runner, "atlas/image:v1", base, top)
    record = runner.publish("atlas/image:v1")
    assert set(record.places) == {"flat", "layers"}
    assert any(
        note.startswith("Not available as thin: layer sha256:") for note in record.notes
    )
    reference = Reference.parse(runner.reference("atlas/image:v1"))
    receipt = read_receipt(runner.repository.read(), reference)
    assert receipt.lacking == ("thin",)
    assert "thin" in receipt.formats
    runner.want("atlas/image:v1")
    assert runner.run("atlas/image:v1").outcome is Outcome.UNCHANGED
