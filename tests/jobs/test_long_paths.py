"""As many directories in each other as Linux can name: sarus has an image of them."""

from tests.support.harness.jobs import JobRunner
from tests.support.images import tars
from tests.support.images.layer_trees import LayerStack
from workers.images.layers.names import LONGEST_PATH

NAME = "atlas/deep"
PATH = b"a/" * 2047 + b"b"
LAYERS = [
    [tars.pax({b"path": PATH}, tars.file(b"x", b"1", mtime=2))],
    [tars.pax({b"path": PATH[:-1] + b"c"}, tars.file(b"x", b"2", mtime=3))],
]


def test_a_path_may_be_as_long_as_linux_takes_it(runner: JobRunner) -> None:
    """The second image is put together from the first one's published layers."""
    assert len(PATH) == LONGEST_PATH == 4095
    expected = LayerStack(*LAYERS).listing
    for tag in ("fetched", "composed"):
        layers = [tars.tar(*entries) for entries in LAYERS]
        config = {"author": tag}
        image = runner.registry.push_image(NAME, tag, layers, config=config)
        runner.publish(f"{NAME}:{tag}")
        listing = runner.listing(image.config_digest)
        assert {path: listing[path] for path in expected if path} == {
            path: entry for path, entry in expected.items() if path
        }
