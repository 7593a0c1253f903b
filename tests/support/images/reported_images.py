"""Images that others reported as unpacked wrongly, beside those of ``hard_cases``.

Each is a sentence and its layers, lowest first, as entries of their tars. Sources:
issues and test suites of the projects named.
"""

from tests.support.images import tars

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
    # dragonflyoss/nydus 2006
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
    # cvmfs 593, as it was with AUFS: what was deleted in a directory before that was
    # renamed is still said under its new name
    "a renamed directory leaves nothing behind and brings no deletion along": [
        [
            _ROOT,
            tars.directory(b"empty", mtime=2),
            tars.directory(b"one file", mtime=2),
            tars.file(b"one file/a", b"1", mtime=2),
            tars.directory(b"full", mode=0o750, mtime=2),
            tars.directory(b"full/d", mtime=2),
            tars.file(b"full/d/a", b"1", mtime=2),
            tars.file(b"full/b", b"1", mtime=2),
        ],
        [
            tars.whiteout(b"empty"),
            tars.directory(b"empty, renamed", mtime=3),
            tars.file(b"empty, renamed/new", b"2", mtime=3),
            tars.directory(b"one file, renamed", mtime=3),
            tars.whiteout(b"one file, renamed/a"),
            tars.whiteout(b"one file"),
            tars.directory(b"full, renamed", mode=0o750, mtime=3),
            tars.whiteout(b"full, renamed/d"),
            tars.file(b"full, renamed/b", b"1", mtime=2),
            tars.whiteout(b"full"),
        ],
    ],
    # cvmfs 518
    "names of a file come and go and its content changes under all of them": [
        [
            _ROOT,
            tars.file(b"poet", b"the cat", mtime=2),
            *(tars.hard_link(name, b"poet") for name in (b"actor", b"musician")),
        ],
        [
            tars.hard_link(b"fat poet", b"actor"),
            tars.hard_link(b"german poet", b"poet"),
            tars.symlink(b"funny poet", b"german poet", mtime=3),
        ],
        [
            tars.whiteout(b"fat poet"),
            tars.whiteout(b"musician"),
            tars.hard_link(b"funny fat poet", b"funny poet"),
            tars.hard_link(b"funny german poet", b"funny fat poet"),
        ],
        [
            tars.file(b"actor", b"the maggot", mtime=4),
            *(tars.hard_link(name, b"actor") for name in (b"poet", b"german poet")),
        ],
    ],
    # cvmfs 639 and 654
    "special and empty files have names in several directories": [
        [
            _ROOT,
            tars.directory(b"d", mtime=2),
            tars.fifo(b"fifo", mode=0o640, uid=3, mtime=2),
            tars.hard_link(b"fifo too", b"fifo"),
            tars.hard_link(b"d/fifo", b"fifo"),
            tars.character_device(b"null", 1, 3, mode=0o666, mtime=2),
            tars.hard_link(b"d/null", b"null"),
            tars.file(b"empty", uid=5, mtime=2),
            tars.hard_link(b"d/empty", b"empty"),
            tars.symlink(b"to empty", b"d/empty", mtime=2),
        ],
        [tars.file(b"fifo", b"no fifo any more", mtime=3), tars.whiteout(b"d/null")],
    ],
    # cvmfs 585; the root and what is large get catalogs of their own
    "attributes of files and directories change and go, those of the root too": [
        [
            tars.xattrs({b"user.root": b"1"}, tars.directory(b"./", mtime=1)),
            tars.xattrs({b"user.a": b"1", b"user.b": b"1"}, tars.directory(b"d")),
            tars.xattrs({b"user.a": b"1"}, tars.file(b"d/changed", b"1", mtime=2)),
            tars.xattrs({b"user.a": b"1"}, tars.file(b"d/gone", b"1", mtime=2)),
        ],
        [
            tars.xattrs({b"user.a": b"2"}, tars.directory(b"d", mtime=3)),
            tars.xattrs({b"user.a": b"2"}, tars.file(b"d/changed", b"1", mtime=2)),
            tars.file(b"d/gone", b"1", mtime=2),
        ],
        [tars.directory(b"./", mtime=4), tars.file(b"d/new", b"1", mtime=4)],
    ],
    # umoci, TestUnpackEntryWhiteout
    "hidden names are deleted like any others": [
        [
            _ROOT,
            tars.file(b".hidden", b"1", mtime=2),
            tars.directory(b"d", mtime=2),
            tars.directory(b"d/.deep", mtime=2),
            tars.file(b"d/.deep/.hidden", b"1", mtime=2),
            tars.file(b"d/...", b"1", mtime=2),
            tars.file(b"d/.wh", b"1", mtime=2),
        ],
        [
            tars.whiteout(b".hidden"),
            tars.whiteout(b"d/.deep"),
            tars.whiteout(b"d/..."),
            tars.whiteout(b"d/.wh"),
        ],
    ],
    # umoci, TestUnpackEntry_OverlayfsRootfs_Whiteout_Nested
    "deletions in what is deleted anyway leave no trace": [
        [
            _ROOT,
            tars.directory(b"d", mtime=2),
            tars.directory(b"d/e", mtime=2),
            tars.file(b"d/e/old", b"1", mtime=2),
            tars.directory(b"again", mtime=2),
            tars.file(b"again/old", b"1", mtime=2),
            tars.directory(b"gone", mtime=2),
            tars.file(b"gone/old", b"1", mtime=2),
            tars.file(b"gone/older", b"1", mtime=2),
        ],
        [
            tars.directory(b"d", mtime=3),
            tars.directory(b"d/e", mtime=3),
            tars.whiteout(b"d/e/old"),
            tars.file(b"d/new", b"2", mtime=3),
            tars.opaque(b"d"),
            tars.directory(b"d/f", mtime=3),
            tars.whiteout(b"d/f/never"),
            tars.opaque(b"d/f"),
            tars.whiteout(b"again"),
            tars.directory(b"again", mtime=3),
            tars.whiteout(b"again/old"),
            tars.file(b"again/new", b"2", mtime=3),
            tars.whiteout(b"gone/old"),
            tars.whiteout(b"gone"),
        ],
    ],
    # umoci, TestUnpackOpaqueWhiteout
    "what a layer has deep in an opaque directory stays though that is said last": [
        [
            _ROOT,
            tars.directory(b"d", mtime=2),
            tars.directory(b"d/some", mode=0o700, mtime=2),
            tars.directory(b"d/some/dir", mode=0o700, mtime=2),
            tars.directory(b"d/other", mtime=2),
            tars.file(b"d/other/old", b"1", mtime=2),
            tars.symlink(b"d/link", b"../../../../etc/shadow", mtime=2),
        ],
        [
            tars.directory(b"d", mtime=3),
            tars.directory(b"d/some", mtime=3),
            tars.directory(b"d/some/dir", mtime=3),
            tars.file(b"d/some/dir/new", b"2", mtime=3),
            tars.symlink(b"d/bad link", b"/../../../etc/shadow", mtime=3),
            tars.opaque(b"d"),
        ],
    ],
    # An overlay looks at no mark of a layer's own root.
    "an opaque root hides everything": [
        [
            _ROOT,
            tars.directory(b"d", mode=0o700, mtime=2),
            tars.file(b"d/old", b"1", mtime=2),
            tars.file(b"old", b"1", mtime=2),
            tars.symlink(b"link", b"d", mtime=2),
        ],
        [
            tars.directory(b"./", mtime=3),
            tars.opaque(b""),
            tars.directory(b"d", mtime=3),
            tars.file(b"d/new", b"2", mtime=3),
            tars.file(b"new", b"2", mtime=3),
        ],
    ],
    # cvmfs 648: a client puts the values of variables in their place
    "targets that look like variables are written as they are": [
        [
            _ROOT,
            tars.symlink(b"all", b"$(CVMFS_ARCH)", mtime=2),
            tars.symlink(b"within", b"a/$(HOME)/b", mtime=2),
            tars.symlink(b"open", b"$(HOME", mtime=2),
        ],
    ],
}
