"""Real images: Debian as debootstrap makes it, and with a numerics stack on top.

Making them takes minutes, so they are kept between runs in a folder outside the
checkout (``CVMFS_WEBHOOK_TEST_CACHE``, else one in the system's folder for temporary
files). The Debian mirror is the one that apt uses on this machine, the Python packages
come from where pip takes them.
"""

import fcntl
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.images import tars
from tests.support.images.oci import (
    GZIP_LAYER_TYPE,
    Layer,
    build_image,
    digest_of,
    write_layout,
)
from tests.support.tools.programs import require_program

_SUITE = "bookworm"
_PACKAGES = "gcc,python3,perl,git,vim,locales"
# Raise it when the recipe below changes.
_VERSION = 1

_SITE_PACKAGES = "usr/local/lib/python3/dist-packages"
_WHEELS = [
    "astropy", "h5py", "jupyterlab", "matplotlib", "networkx", "numba", "numpy",
    "pandas", "scikit-learn", "scipy", "sympy",
]  # fmt: skip
_SCIENCE_VERSION = 1
# What `docker build` compresses layers with, and zlib's default.
_USUAL_GZIP_LEVEL = 6


def debian_image() -> Path:
    """Return an OCI layout whose image ``latest`` is Debian with a compiler stack.

    Skips the test where it cannot be made.
    """
    folder = _cache() / f"debian-image-{_VERSION}"
    with _alone(folder):
        if not folder.exists():
            _make_image(debian_tree(), folder)
    return folder


def debian_tree() -> Path:
    """Return a folder with a whole Debian, owners and devices included."""
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    program = require_program("debootstrap")
    tree = _cache() / f"debian-tree-{_VERSION}"
    with _alone(tree):
        if not tree.exists():
            aside = tree.with_suffix(".new")
            shutil.rmtree(aside, ignore_errors=True)
            command = [program, "--variant=minbase", f"--include={_PACKAGES}"]
            done = subprocess.run(
                [*command, _SUITE, str(aside), *_mirror()],
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                pytest.skip(f"debootstrap failed: {done.stdout[-500:]}")
            shutil.rmtree(aside / "var/cache/apt/archives")
            aside.rename(tree)
    return tree


def science_image() -> Path:
    """Return an OCI layout whose image ``latest`` is like those of experiments.

    Debian with a compiler and a numerics stack, about 53 000 entries and 1.5 GB in
    three layers: the image that the benchmarks speak of (design section 7).
    """
    folder = _cache() / f"science-image-{_SCIENCE_VERSION}"
    with _alone(folder):
        if not folder.exists():
            _make_science_image(debian_tree(), _science_tree(), folder)
    return folder


def _science_tree() -> Path:
    """Return a folder with the numerics stack alone, its bytecode included."""
    tree = _cache() / f"science-tree-{_SCIENCE_VERSION}"
    if not tree.exists():
        aside = tree.with_suffix(".new")
        shutil.rmtree(aside, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet"]
        pip += ["--disable-pip-version-check", "--only-binary=:all:"]
        done = subprocess.run(
            [*pip, "--target", aside / _SITE_PACKAGES, *_WHEELS],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            pytest.skip(f"pip failed: {done.stderr[-500:]}")
        aside.rename(tree)
    return tree


def _make_science_image(debian: Path, science: Path, folder: Path) -> None:
    aside = folder.with_suffix(".new")
    shutil.rmtree(aside, ignore_errors=True)
    tars_of_layers = [*_debian_layers(debian), _tar(science, ["."], [])]
    with ThreadPoolExecutor(len(tars_of_layers)) as executor:
        layers = list(executor.map(_usual_layer, tars_of_layers))
    config = {"config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["python3"]}}
    write_layout(aside, "latest", build_image(layers, config=config))
    aside.rename(folder)


def _usual_layer(tar: bytes) -> Layer:
    blob = gzip.compress(tar, _USUAL_GZIP_LEVEL, mtime=0)
    return Layer(blob, GZIP_LAYER_TYPE["oci"], digest_of(tar))


def _debian_layers(tree: Path) -> list[bytes]:
    """Return the tars of two layers that together are the tree."""
    return [
        _tar(tree, ["."], ["./usr/lib/*", "./usr/share/*"]),
        _tar(tree, ["./usr/lib", "./usr/share"], []),
    ]


def _make_image(tree: Path, folder: Path) -> None:
    aside = folder.with_suffix(".new")
    shutil.rmtree(aside, ignore_errors=True)
    third = tars.tar(
        tars.whiteout(b"usr/share/doc"),
        tars.directory(b"etc/opaque", mode=0o750),
        tars.file(b"etc/motd", b"changed by a later layer\n", mode=0o640, uid=7),
        tars.hard_link(b"usr/bin/shell", b"usr/bin/dash"),
        tars.symlink(b"etc/link", b"../usr/bin/env"),
    )
    config = {
        "config": {
            "Env": ["PATH=/usr/bin:/bin", "GREETING=it's $HOME"],
            "Cmd": ["python3"],
        }
    }
    write_layout(
        aside, "latest", build_image([*_debian_layers(tree), third], config=config)
    )
    aside.rename(folder)


def _tar(tree: Path, members: Sequence[str], excluded: Sequence[str]) -> bytes:
    command = ["tar", "--create", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    command += ["--format=posix", "--sort=name", "--directory", str(tree)]
    command += [f"--exclude={pattern}" for pattern in excluded]
    return subprocess.run([*command, *members], check=True, capture_output=True).stdout


def _mirror() -> list[str]:
    """Return the Debian mirror of this machine; nothing leaves debootstrap its own."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)"],
        check=False,
        capture_output=True,
        text=True,
    )
    for line in done.stdout.splitlines():
        site, _, release = line.partition(" ")
        if release == _SUITE:
            return [site]
    return []


def _cache() -> Path:
    named = os.environ.get("CVMFS_WEBHOOK_TEST_CACHE")
    folder = Path(named or tempfile.gettempdir()) / "cvmfs-webhook-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one of several test processes make a thing; the others wait for it."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
