"""An image that has CernVM-FS's own marker files in it, as CVMFS's test 658 has.

There a marker makes a catalog. Here catalogs lie where we put them, so those of an
image are left out, and that is told.
"""

from tests.support.harness.jobs import FQRN, JobRunner
from tests.support.images import tars
from tests.support.images.layer_trees import LayerStack
from tests.support.tools.umoci import without_our_additions
from workers.care.repository import check_repository
from workers.ledger import Outcome

MARKER = b".cvmfscatalog"
BASE = [
    tars.directory(b"a", mtime=1),
    tars.file(b"a/" + MARKER, mtime=1),
    tars.file(b"a/file", b"1", mtime=1),
    tars.hard_link(b"a/linked", b"a/" + MARKER),
    tars.directory(b"d", mtime=1),
    tars.directory(b"d/e", mtime=1),
    tars.hard_link(b"d/e/" + MARKER, b"a/" + MARKER),
    tars.file(MARKER, b"with content", mtime=1),
]
TOP = [tars.whiteout(b"d/e/" + MARKER), tars.file(b"d/new", b"2", mtime=2)]
NAME = "atlas/marked"


def test_markers_of_an_image_are_told(runner: JobRunner) -> None:
    runner.registry.push_image(NAME, "v1", [tars.tar(*BASE)])
    runner.want(f"{NAME}:v1")
    told = str(runner.run(f"{NAME}:v1").reason)
    assert told.count("3 reserved name .cvmfscatalog") == 1


def test_markers_of_an_image_are_left_out(runner: JobRunner) -> None:
    """The second image is put together from the first one's published layers."""
    layers = [tars.tar(*entries) for entries in (BASE, TOP)]
    expected = LayerStack(BASE, TOP).listing
    kept = {path for path in expected if not path.endswith(MARKER)}
    assert len(kept) == len(expected) - 2
    for tag in ("fetched", "composed"):
        config = {"author": tag}
        image = runner.registry.push_image(NAME, tag, layers, config=config)
        runner.want(f"{NAME}:{tag}")
        run = runner.run(f"{NAME}:{tag}")
        assert run.outcome is Outcome.PUBLISHED
        listing = runner.listing(image.config_digest)
        assert without_our_additions(listing, expected).keys() == kept
        assert listing[b"a/linked"].type == "file"
    found = check_repository(
        runner.services.config, FQRN, contents=True, tell=lambda _: None
    )
    assert list(found) == []


def test_a_directory_that_is_called_like_a_marker_fails_and_says_where(
    runner: JobRunner,
) -> None:
    layer = tars.tar(tars.file(b"a/" + MARKER + b"/file", b"1"))
    runner.registry.push_image(NAME, "v1", [layer])
    runner.want(f"{NAME}:v1")
    run = runner.run(f"{NAME}:v1")
    assert (run.outcome, run.next_try) == (Outcome.FAILED, None)
    assert "/a has a directory .cvmfscatalog" in str(run.reason)
