"""Images that unpacking tools have got wrong, small and by hand.

Each is a name and its layers, lowest first, as entries of their tars. Facts from the
test suites of umoci, DUCC, Shifter, sarus and from reported bugs.
"""

from tests.support.images import tars

Layers = list[list[bytes]]

_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
_SPARSE = [(4096, b"x" * 5000), (1 << 20, b"y" * 100)]


def _usr_merged() -> list[bytes]:
    return [
        tars.directory(b"./", mode=0o755, mtime=1),
        tars.directory(b"usr/", mtime=2),
        tars.directory(b"usr/lib/", mode=0o751, mtime=3),
        tars.file(b"usr/lib/libc.so", b"libc", mtime=4),
        tars.directory(b"usr/bin/", mtime=5),
        tars.file(b"usr/bin/tool", b"tool", mode=0o755, mtime=6),
        tars.symlink(b"lib", b"usr/lib", mtime=7),
        tars.symlink(b"bin", b"/usr/bin", mtime=8),
    ]


HARD_CASES: dict[str, Layers] = {
    "types and modes": [
        [
            tars.directory(b"./", mode=0o755, mtime=1),
            tars.directory(b"d", mode=0o3777, uid=1, gid=2, mtime=3),
            tars.file(b"setuid", b"1", mode=0o4755, mtime=3),
            tars.file(b"setgid", b"1", mode=0o2755, uid=5, gid=6, mtime=3),
            tars.file(b"sticky", b"1", mode=0o1644, mtime=3),
            tars.file(b"gshadow", b"secret", mode=0, gid=42, mtime=3),
            tars.directory(b"closed", mode=0, mtime=3),
            tars.file(b"closed/file", b"1", mode=0o200, mtime=3),
            tars.directory(b"readonly", mode=0o555, mtime=3),
            tars.character_device(b"null", 1, 3, mode=0o666, mtime=3),
            tars.character_device(b"big", 511, 70000, mode=0o600, mtime=3),
            tars.block_device(b"sda", 8, 0, mode=0o660, gid=6, mtime=3),
            tars.fifo(b"fifo", mode=0o622, mtime=3),
            tars.file(b"empty", mtime=3),
            tars.symlink(b"dangling", b"no/where", mtime=3),
            tars.symlink(b"absolute", b"/../etc", uid=7, gid=8, mtime=3),
            tars.file(b"foreign", b"1", uid=4_000_000_000, gid=2_147_483_648, mtime=3),
        ],
        [
            tars.file(b"readonly/file", b"1", mtime=4),
            tars.file(b"closed/another", b"1", mtime=4),
        ],
    ],
    "names": [
        [
            tars.directory(b"./", mtime=1),
            tars.pax({b"path": b"\xff\xfe\x80"}, tars.file(b"x", b"1", mtime=2)),
            tars.pax({b"path": "😀 ü".encode()}, tars.file(b"x", b"1", mtime=2)),
            tars.pax({b"path": b"line\nbreak\t\\"}, tars.file(b"x", b"1", mtime=2)),
            tars.pax({b"path": b"n" * 255}, tars.file(b"x", b"1", mtime=2)),
            tars.file(b"...", b"1", mtime=2),
            tars.file(b"-rf", b"1", mtime=2),
            tars.file(b"%41@~'\"$`", b"1", mtime=2),
            tars.directory(b"d", mtime=2),
            tars.directory(b"./d//./e/", mtime=2),
            tars.pax(
                {b"linkpath": b"t/" * 1500}, tars.symlink(b"long target", b"", mtime=2)
            ),
        ],
    ],
    "names in the manner of GNU": [
        [
            tars.directory(b"./", mtime=1, magic=tars.GNU),
            tars.directory(b"d/", mtime=2, magic=tars.GNU),
            tars.gnu_name(
                b"d/" + b"n" * 200, tars.file(b"cut", b"1", mtime=2, magic=tars.GNU)
            ),
            tars.gnu_link(
                b"t" * 300, tars.symlink(b"link", b"cut", mtime=2, magic=tars.GNU)
            ),
            tars.gnu_link(
                b"d/" + b"n" * 200,
                tars.hard_link(b"hard", b"cut", mtime=2, magic=tars.GNU),
            ),
        ],
    ],
    "names that begin at the root": [
        [
            tars.directory(b"/", mtime=1),
            tars.directory(b"/etc", mtime=2),
            tars.file(b"//etc/passwd", b"1", mtime=2),
            tars.file(b"/./x", b"1", mtime=2),
            tars.file(b"/../y", b"1", mtime=2),
            tars.directory(b"/gone", mtime=2),
            tars.file(b"/gone/old", b"1", mtime=2),
            tars.directory(b"opaque", mtime=2),
            tars.file(b"/opaque/old", b"1", mtime=2),
            tars.pax({b"path": b"/etc/pax"}, tars.file(b"cut", b"1", mtime=2)),
            tars.gnu_name(b"//etc/gnu", tars.file(b"cut", b"1", mtime=2)),
            tars.symlink(b"/link", b"/etc", mtime=2),
            tars.hard_link(b"h1", b"/etc/passwd"),
            tars.hard_link(b"/h2", b"//etc/./pax"),
            tars.pax({b"linkpath": b"/y"}, tars.hard_link(b"h3", b"cut")),
        ],
        [
            tars.whiteout(b"/gone"),
            tars.whiteout(b"/../x"),
            tars.opaque(b"//opaque"),
            tars.file(b"/opaque/new", b"1", mtime=3),
            tars.file(b"/link/through", b"1", mtime=3),
        ],
    ],
    "names with dots": [
        [
            tars.directory(b"./", mtime=1),
            tars.directory(b"a", mtime=2),
            tars.directory(b"a/b", mtime=2),
            tars.symlink(b"s", b"a/b", mtime=2),
            tars.file(b"a/b/../c", b"1", mtime=2),
            tars.file(b"s/../beside the symlink", b"1", mtime=2),
            tars.file(b"../../climbed", b"1", mtime=2),
            tars.file(b"a/../../e", b"1", mtime=2),
            tars.directory(b"a/b/..", mode=0o751, mtime=3),
            tars.hard_link(b"h1", b"../a/b/../c"),
            tars.hard_link(b"h2", b"/../climbed"),
        ],
        [tars.whiteout(b"a/../e"), tars.file(b"a/b/../../f", b"1", mtime=4)],
    ],
    "owners": [
        [
            tars.directory(b"./", mtime=1),
            tars.file(b"minus one", b"1", uid=-1, gid=-1, mtime=2),
            tars.file(b"minus two", b"1", uid=-2, gid=-2, mtime=2),
            tars.file(b"largest", b"1", uid=0xFFFF_FFFE, mtime=2),
            tars.file(b"unchanged", b"1", uid=0xFFFF_FFFF, gid=0xFFFF_FFFF, mtime=2),
            tars.pax(
                {b"uid": b"-2", b"gid": b"-1"}, tars.file(b"records", b"1", mtime=2)
            ),
            tars.pax({b"uid": b"+7"}, tars.file(b"plus", b"1", mtime=2)),
        ],
    ],
    "times": [
        [
            tars.directory(b"./", mtime=1),
            tars.file(b"negative", b"1", mtime=-86400),
            tars.file(b"future", b"1", mtime=4_102_444_800),
            tars.pax({b"mtime": b"1.123456789"}, tars.file(b"nanoseconds", b"1")),
            tars.pax({b"mtime": b"-1.25"}, tars.file(b"both", b"1")),
            tars.pax({b"mtime": b"+1700000000.5"}, tars.file(b"plus", b"1")),
            tars.pax({b"mtime": b"7.5"}, tars.symlink(b"symlink", b"x")),
            tars.pax({b"mtime": b"9.000000001"}, tars.directory(b"directory")),
        ],
    ],
    "attributes": [
        [
            tars.directory(b"./", mtime=1),
            tars.xattrs(
                {b"security.capability": _CAPABILITY},
                tars.file(b"ping", b"1", mode=0o755, mtime=2),
            ),
            tars.xattrs(
                {b"user.text": b"value", b"user.binary": b"\0\xff=\n"},
                tars.file(b"user", b"1", mtime=2),
            ),
            tars.xattrs({b"trusted.d": b"1"}, tars.directory(b"directory", mtime=2)),
            tars.xattrs({b"trusted.s": b"1"}, tars.symlink(b"symlink", b"x", mtime=2)),
            tars.xattrs(
                {b"user.long": b"v" * 300, b"user.n" + b"n" * 200: b"1"},
                tars.file(b"long", b"1", mtime=2),
            ),
            tars.xattrs(
                {b"security.selinux": b"a_label"}, tars.file(b"label", b"1", mtime=2)
            ),
        ],
        [
            tars.directory(b"directory", mtime=3),
            tars.hard_link(b"pong", b"ping", mode=0, mtime=3),
        ],
    ],
    "sparse files": [
        [
            tars.directory(b"./", mtime=1),
            tars.pax_sparse(b"0.0", 2 << 20, _SPARSE, "0.0", mtime=2),
            tars.pax_sparse(b"0.1", 2 << 20, _SPARSE, "0.1", mtime=2),
            tars.pax_sparse(b"1.0", 2 << 20, _SPARSE, "1.0", mtime=2),
            tars.pax_sparse(b"hole", 3 << 20, [], "1.0", mtime=2),
        ],
    ],
    "deletions": [
        [
            tars.directory(b"./", mtime=1),
            tars.directory(b"d", mtime=2),
            tars.file(b"d/a", b"1", mtime=2),
            tars.file(b"d/b", b"1", mtime=2),
            tars.directory(b"gone", mtime=2),
            tars.directory(b"gone/deep", mtime=2),
            tars.file(b"gone/deep/file", b"1", mtime=2),
            tars.directory(b"opaque", mode=0o700, mtime=2),
            tars.file(b"opaque/old", b"1", mtime=2),
            tars.directory(b"opaque/d", mtime=2),
            tars.file(b"opaque/d/old", b"1", mtime=2),
            tars.directory(b"again", mtime=2),
            tars.file(b"again/old", b"1", mtime=2),
        ],
        [
            tars.whiteout(b"d/a"),
            tars.whiteout(b"gone"),
            tars.whiteout(b"never/was"),
            tars.directory(b"opaque", mode=0o711, mtime=3),
            tars.file(b"opaque/new", b"1", mtime=3),
            tars.opaque(b"opaque"),
            tars.directory(b"opaque/d", mtime=3),
            tars.file(b"opaque/d/new", b"1", mtime=3),
            tars.whiteout(b"again"),
            tars.directory(b"again", mode=0o750, mtime=3),
            tars.file(b"again/new", b"1", mtime=3),
        ],
        [tars.whiteout(b"again/new"), tars.file(b"opaque/old", b"2", mtime=4)],
    ],
    "changes of type": [
        [
            tars.directory(b"./", mtime=1),
            tars.directory(b"directory to file", mtime=2),
            tars.file(b"directory to file/x", b"1", mtime=2),
            tars.directory(b"directory to symlink", mtime=2),
            tars.file(b"directory to symlink/x", b"1", mtime=2),
            tars.file(b"file to directory", b"1", mtime=2),
            tars.symlink(b"symlink to directory", b"target", mtime=2),
            tars.directory(b"target", mtime=2),
            tars.file(b"target/x", b"1", mtime=2),
            tars.fifo(b"fifo to file", mtime=2),
            tars.file(b"file to symlink", b"1", mtime=2),
            tars.symlink(b"symlink to file", b"target/x", mtime=2),
        ],
        [
            tars.file(b"directory to file", b"2", mtime=3),
            tars.symlink(b"directory to symlink", b"target", mtime=3),
            tars.directory(b"file to directory", mtime=3),
            tars.file(b"file to directory/y", b"2", mtime=3),
            tars.directory(b"symlink to directory", mtime=3),
            tars.file(b"symlink to directory/y", b"2", mtime=3),
            tars.file(b"fifo to file", b"2", mtime=3),
            tars.symlink(b"file to symlink", b"target/x", mtime=3),
            tars.file(b"symlink to file", b"2", mtime=3),
        ],
        [tars.file(b"directory to symlink/z", b"3", mtime=4)],
    ],
    "types that change within one layer": [
        [
            tars.directory(b"./", mtime=1),
            tars.directory(b"d", mtime=2),
            tars.file(b"d/old", b"1", mtime=2),
        ],
        [
            tars.file(b"d", b"2", mtime=3),
            tars.directory(b"d", mtime=4),
            tars.file(b"d/new", b"2", mtime=3),
            tars.file(b"twice", b"1", mtime=3),
            tars.file(b"twice", b"2", mtime=4),
        ],
    ],
    "hard links": [
        [
            tars.directory(b"./", mtime=1),
            tars.directory(b"d", mtime=2),
            tars.file(b"d/first", b"1", mode=0o4755, uid=3, mtime=2),
            tars.hard_link(b"second", b"d/first", mtime=9),
            tars.hard_link(b"d/third", b"./second"),
            tars.hard_link(b"fourth", b"/d/third"),
            tars.file(b"empty", mtime=2),
            tars.hard_link(b"empty too", b"empty"),
            tars.symlink(b"symlink", b"d/first", mtime=2),
            tars.hard_link(b"link to symlink", b"symlink"),
            tars.fifo(b"fifo", mtime=2),
            tars.hard_link(b"fifo too", b"fifo"),
        ],
        [
            tars.hard_link(b"across", b"d/first"),
            tars.hard_link(b"across again", b"across"),
            tars.file(b"second", b"2", mtime=4),
            tars.whiteout(b"d/third"),
            tars.file(b"own", b"3", mtime=4),
            tars.hard_link(b"own too", b"own"),
        ],
        [tars.hard_link(b"through two", b"across"), tars.whiteout(b"d/first")],
    ],
    "symlinks to directories": [
        _usr_merged(),
        [
            tars.file(b"lib/libm.so", b"libm", mtime=9),
            tars.whiteout(b"lib/libc.so"),
            tars.file(b"bin/another", b"1", mode=0o755, mtime=9),
            tars.hard_link(b"bin/tool-1", b"bin/tool"),
            tars.whiteout(b"nothing/at/all"),
        ],
        [
            tars.directory(b"bin", mode=0o700, mtime=10),
            tars.file(b"bin/sh", b"sh", mtime=10),
            tars.symlink(b"usr/share", b"lib", mtime=10),
            tars.file(b"usr/share/text", b"1", mtime=10),
            tars.symlink(b"loop", b"loop", mtime=10),
        ],
    ],
    "many layers": [
        [tars.directory(b"./", mtime=1), tars.file(b"shared", b"0", mtime=0)],
        *(
            [
                tars.file(b"shared", b"%d" % n, mtime=n),
                tars.file(b"own %d" % n, b"%d" % n, mtime=n),
                tars.whiteout(b"own %d" % (n - 1)),
            ]
            for n in range(1, 70)
        ),
    ],
    "an empty layer": [
        [tars.directory(b"./", mtime=1), tars.file(b"a", b"1", mtime=1)],
        [],
        [tars.directory(b"./", mode=0o711, uid=3, mtime=5)],
    ],
}
