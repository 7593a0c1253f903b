"""Images that others reported as unpacked wrongly, beside those of ``hard_cases``.

Each is a sentence and its layers, lowest first, as entries of their tars. Sources:
issues and test suites of the projects named.
"""

from tests.support import tars

_ROOT = tars.directory(b"./", mtime=1)


def _nested(depth: int, name: bytes) -> list[bytes]:
    """Return directories in each other, and a file in the innermost."""
    paths = [b"/".join([name] * (n + 1)) for n in range(depth)]
    entries = [
        tars.pax({b"path": path}, tars.directory(b"x", mtime=2)) for path in paths
    ]
    file = tars.pax({b"path": paths[-1] + b"/file"}, tars.file(b"x", b"1", mtime=2))
    return [_ROOT, *entries, file]


REPORTED_IMAGES: dict[str, list[list[bytes]]] = {
    # anchore/stereoscope 694
    "an opaque directory over a lower symlink leaves what that leads to": [
        [
            _ROOT,
            tars.directory(b"target", mtime=2),
            tars.file(b"target/kept", b"1", mtime=2),
            tars.symlink(b"d", b"target", mtime=2),
        ],
        [
            tars.directory(b"d", mtime=3),
            tars.opaque(b"d"),
            tars.file(b"d/new", b"1", mtime=3),
        ],
    ],
    # google/containerregistry 110
    "an opaque directory has its own new content whatever comes first": [
        [
            _ROOT,
            tars.directory(b"before", mtime=2),
            tars.file(b"before/old", b"1", mtime=2),
            tars.directory(b"after", mtime=2),
            tars.file(b"after/old", b"1", mtime=2),
        ],
        [
            tars.directory(b"before", mtime=3),
            tars.opaque(b"before"),
            tars.file(b"before/new", b"1", mtime=3),
            tars.directory(b"after", mtime=3),
            tars.file(b"after/new", b"1", mtime=3),
            tars.opaque(b"after"),
        ],
    ],
    # containerd/nydus 2006
    "a hard link to a symlink is another name of the symlink": [
        [
            _ROOT,
            tars.symlink(b"symlink", b"no/where", uid=3, mtime=2),
            tars.hard_link(b"linked", b"symlink"),
        ],
        [tars.hard_link(b"again", b"symlink"), tars.whiteout(b"symlink")],
    ],
    # cvmfs, ducc/testutils/hardlink.go: what dnf leaves in its cache
    "a hard link may lead to what only a lower layer has": [
        [
            _ROOT,
            tars.directory(b"cache", mtime=2),
            tars.file(b"cache/package", b"rpm", mode=0o640, uid=9, mtime=2),
        ],
        [tars.directory(b"cache", mtime=2), tars.hard_link(b"kept", b"cache/package")],
    ],
    # cvmfs 2680: Ubuntu 16.04
    "devices that an image has are devices": [
        [
            _ROOT,
            tars.directory(b"dev", mtime=2),
            tars.character_device(b"dev/null", 1, 3, mode=0o666, mtime=2),
            tars.character_device(b"dev/tty", 5, 0, mode=0o666, gid=5, mtime=2),
            tars.block_device(b"dev/loop0", 7, 0, mode=0o660, gid=6, mtime=2),
            tars.symlink(b"dev/fd", b"/proc/self/fd", mtime=2),
            tars.fifo(b"dev/initctl", mode=0o600, mtime=2),
        ],
    ],
    # umoci 222, singularity 977
    "what nobody may read or write is kept and may be written over": [
        [
            _ROOT,
            tars.directory(b"etc", mode=0o555, mtime=2),
            tars.file(b"etc/gshadow", b"secret", mode=0, gid=42, mtime=2),
            tars.file(b"etc/readonly", b"1", mode=0o444, mtime=2),
        ],
        [
            tars.directory(b"etc", mode=0o555, mtime=3),
            tars.file(b"etc/new", b"2", mode=0o400, mtime=3),
            tars.file(b"etc/readonly", b"2", mode=0, mtime=3),
        ],
    ],
    # Of shifter (scanon/chgtype and importtest) and sarus.
    "a symlink takes the place of a directory with all that is in it": [
        [
            _ROOT,
            tars.directory(b"data", mtime=2),
            tars.file(b"data/old", b"1", mtime=2),
            tars.directory(b"other", mtime=2),
            tars.file(b"other/new", b"2", mtime=2),
        ],
        [tars.symlink(b"data", b"other", mtime=3)],
    ],
    # sarus, "non-ASCII characters"; shifter, scanon/unicode; cvmfs 654
    "names are bytes in any script, composed or not": [
        [
            _ROOT,
            *(
                tars.pax({b"path": name}, tars.file(b"x", b"1", mtime=2))
                for name in (
                    "ä".encode(),
                    "a\u0308".encode(),
                    "日本語".encode(),
                    "👩\u200d🔬".encode(),
                    "\u202e".encode(),
                    b"latin-1 \xe4",
                )
            ),
        ],
    ],
    # sarus, "longest path length"; PATH_MAX is 4096 with the byte at its end
    "paths may be as long as linux takes them": [_nested(14, b"d" * 255)],
    "directories may be two hundred deep": [_nested(200, b"d")],
    # apple/containerization 927
    "layers may be empty wherever they are": [[], [_ROOT], [], [], []],
    # cvmfs 593, 509, 504: what is renamed, deleted and made again
    "a directory that is deleted and made again has nothing of the old one": [
        [
            _ROOT,
            tars.directory(b"d", mode=0o700, uid=4, mtime=2),
            tars.directory(b"d/deep", mtime=2),
            tars.file(b"d/deep/old", b"1", mtime=2),
        ],
        [tars.whiteout(b"d")],
        [tars.directory(b"d", mtime=3), tars.directory(b"d/deep", mtime=3)],
        [tars.whiteout(b"d/deep"), tars.file(b"d/new", b"1", mtime=3)],
        [tars.directory(b"d", mtime=3)],
    ],
}
