from tests.support.harness.ledger import D1
from workers.formats.shown_paths import places
from workers.reference import Reference

IMAGE = Reference.parse("docker.io/atlas/analysis:v1")
THIN = Reference.parse("registry.example.org/thin/analysis:v1")
PATH = "/registry.hub.docker.com/atlas/analysis:v1"
FILE = f"/.images/11/{'1' * 64}.sqfs"


def test_each_format_is_found_at_its_place() -> None:
    formats = ("flat", "layers", "podman", "image", "thin")
    assert places(IMAGE, formats, config_digest=D1, thin=THIN) == {
        "flat": PATH,
        "layers": "/.layers",
        "podman": str(IMAGE),
        "image": FILE,
        "thin": str(THIN),
    }


def test_what_is_not_published_is_nowhere() -> None:
    assert places(IMAGE, ("flat",), config_digest=D1, thin=THIN) == {"flat": PATH}
    assert places(IMAGE, ("layers", "image")) == {"layers": "/.layers"}
