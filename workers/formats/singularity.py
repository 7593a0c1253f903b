"""What apptainer and singularity need inside a root file system.

The flat tree is used as a sandbox: ``apptainer exec /cvmfs/…/atlas/analysis:v1 cmd``.
CVMFS is read-only, so every mount point has to be there already, and the scripts in
``.singularity.d`` say how to run the image, as ``apptainer build`` would have written
them. Nothing that the image has is overwritten but those scripts; links that lead out
of ``.singularity.d`` are replaced by directories: nothing is written through them.

Source: ``cvmfs-format`` notes on DUCC and apptainer's ``oci`` conveyor: names of files,
meaning of the variables. The scripts are ours: arguments are kept as the positional
parameters of the shell, so that every byte a Dockerfile can hold arrives unchanged.
"""

import json
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from types import MappingProxyType

from workers.cvmfs import Content, Dirent, Tree
from workers.images.layers.names import join
from workers.images.layers.paths_in_tree import find_directory, remove
from workers.images.manifest import ImageConfig

# Directories that apptainer mounts something on, or works in.
MOUNT_POINTS = (b"dev", b"proc", b"root", b"var/tmp", b"tmp", b"etc", b"sys", b"home")
# Files that apptainer binds the host's own over; they must be plain files.
MOUNTED_FILES = (b"etc/hosts", b"etc/resolv.conf")
FOLDER = b".singularity.d"
LINKS = {
    b".exec": b".singularity.d/actions/exec",
    b".run": b".singularity.d/actions/run",
    b".shell": b".singularity.d/actions/shell",
    b".test": b".singularity.d/actions/test",
    b"environment": b".singularity.d/env/90-environment.sh",
    b"singularity": b".singularity.d/runscript",
}

_DIRECTORY = Dirent(stat.S_IFDIR | 0o755)
_STICKY_DIRECTORY = Dirent(stat.S_IFDIR | 0o1777)
_SCRIPT_MODE = stat.S_IFREG | 0o755
_FILE_MODE = stat.S_IFREG | 0o644
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Bash, and the shell that apptainer has built in, keep these for themselves; setting
# one ends a script of ``/bin/sh`` where that is Bash.
_READ_ONLY = frozenset(
    {"BASHOPTS", "BASH_VERSINFO", "EUID", "GID", "PPID", "SHELLOPTS", "UID"}
)

# The loop's variable must not be one that an image or a user has.
_SOURCE_ENVIRONMENT = """\
#!/bin/sh
for _singularity_script in /.singularity.d/env/*.sh; do
    if [ -f "$_singularity_script" ]; then
        . "$_singularity_script"
    fi
done
unset _singularity_script
"""
_RUN = """
if [ -n "${SINGULARITY_APPNAME:-}" ]; then
    if [ -x "/scif/apps/$SINGULARITY_APPNAME/scif/%(script)s" ]; then
        exec "/scif/apps/$SINGULARITY_APPNAME/scif/%(script)s" "$@"
    fi
    echo "No %(script)s for the application $SINGULARITY_APPNAME" >&2
    exit 1
fi
if [ -x "/.singularity.d/%(script)s" ]; then
    exec "/.singularity.d/%(script)s" "$@"
fi
"""
_SHELL = """
if [ -n "${SINGULARITY_SHELL:-}" ] && [ -x "$SINGULARITY_SHELL" ]; then
    exec "$SINGULARITY_SHELL" "$@"
fi
if [ -x /bin/bash ]; then
    SHELL=/bin/bash
    PS1="${SINGULARITY_NAME:-container}> "
    export SHELL PS1
    exec /bin/bash --norc "$@"
fi
if [ -x /bin/sh ]; then
    SHELL=/bin/sh
    export SHELL
    exec /bin/sh "$@"
fi
echo "This image has no shell" >&2
exit 1
"""
_APPLICATIONS = """\
#!/bin/sh
if [ -n "${SINGULARITY_APPNAME:-}" ]; then
    SCIF_APPS=/scif/apps
    SCIF_APPROOT="/scif/apps/$SINGULARITY_APPNAME"
    export SCIF_APPS SCIF_APPROOT
    if [ ! -d "$SCIF_APPROOT" ]; then
        echo "No application $SINGULARITY_APPNAME in this image" >&2
        exit 1
    fi
    PATH="$SCIF_APPROOT/bin:$PATH"
    LD_LIBRARY_PATH="$SCIF_APPROOT/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    export PATH LD_LIBRARY_PATH
    for _singularity_app in "$SCIF_APPROOT"/scif/env/*.sh; do
        if [ -f "$_singularity_app" ]; then
            . "$_singularity_app"
        fi
    done
    unset _singularity_app
fi
"""
_LIBRARIES = """\
#!/bin/sh
LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs"
PS1="Singularity> "
export LD_LIBRARY_PATH PS1
"""
_RUNTIME = """\
#!/bin/sh
if [ -n "${SING_USER_DEFINED_PREPEND_PATH:-}" ]; then
    PATH="$SING_USER_DEFINED_PREPEND_PATH:$PATH"
fi
if [ -n "${SING_USER_DEFINED_APPEND_PATH:-}" ]; then
    PATH="$PATH:$SING_USER_DEFINED_APPEND_PATH"
fi
if [ -n "${SING_USER_DEFINED_PATH:-}" ]; then
    PATH="$SING_USER_DEFINED_PATH"
fi
unset SING_USER_DEFINED_PREPEND_PATH SING_USER_DEFINED_APPEND_PATH
unset SING_USER_DEFINED_PATH
export PATH
"""


MARK = (
    FOLDER + b"/actions/exec",
    (_SOURCE_ENVIRONMENT + '\nexec "$@"\n').encode(),
)
"""A file by which a tree that we made is known: who else makes such trees writes one of
their own there."""


def environment_script(environment: tuple[str, ...]) -> str:
    """Return the script that sets the image's variables where the user has not.

    ``PATH`` is the image's alone: the host's has no meaning inside. A variable that the
    user has set to nothing counts as not set, as in what ``apptainer build`` writes.
    Names that no shell can set are left out.
    """
    values = dict(setting.partition("=")[::2] for setting in environment)
    lines = ["#!/bin/sh"]
    for name, value in values.items():
        if not _VARIABLE.fullmatch(name) or name in _READ_ONLY:
            continue
        is_fixed = name == "PATH"
        condition = "" if is_fixed else f'[ -n "${{{name}:-}}" ] || '
        lines += [f"{condition}{name}={shlex.quote(value)}", f"export {name}"]
    return "\n".join(lines) + "\n"


def run_script(entrypoint: tuple[str, ...], command: tuple[str, ...]) -> str:
    """Return the script that runs the image as ``docker run`` would."""
    lines = ["#!/bin/sh"]
    if command:
        lines += ["if [ $# -eq 0 ]; then", f"    set -- {_arguments(command)}", "fi"]
    if entrypoint:
        lines.append(f'set -- {_arguments(entrypoint)} "$@"')
    elif not command:
        lines += ["if [ $# -eq 0 ]; then", "    set -- /bin/sh", "fi"]
    lines.append('exec "$@"')
    return "\n".join(lines) + "\n"


def scripts(config: ImageConfig) -> dict[bytes, str]:
    """Return the files of ``.singularity.d`` by their path in it."""
    run, test = {"script": "runscript"}, {"script": "test"}
    return {
        b"actions/exec": _SOURCE_ENVIRONMENT + '\nexec "$@"\n',
        b"actions/run": _SOURCE_ENVIRONMENT + _RUN % run + '\nexec /bin/sh "$@"\n',
        b"actions/shell": _SOURCE_ENVIRONMENT + _SHELL,
        b"actions/start": "#!/bin/sh\nkill -CONT 1\n"
        + _SOURCE_ENVIRONMENT.removeprefix("#!/bin/sh\n")
        + '\nexec /.singularity.d/startscript "$@"\n',
        b"actions/test": _SOURCE_ENVIRONMENT + _RUN % test + "\ntrue\n",
        b"env/01-base.sh": "#!/bin/sh\n",
        b"env/10-docker2singularity.sh": environment_script(config.environment),
        b"env/90-environment.sh": "#!/bin/sh\n# For variables of your own.\n",
        b"env/95-apps.sh": _APPLICATIONS,
        b"env/99-base.sh": _LIBRARIES,
        b"env/99-runtimevars.sh": _RUNTIME,
        b"runscript": run_script(config.entrypoint, config.command),
        b"startscript": "#!/bin/sh\n",
    }


def add_singularity(
    tree: Tree,
    config: ImageConfig,
    store: Callable[[bytes], Content],
    files: Mapping[bytes, bytes] = MappingProxyType({}),
) -> set[bytes]:
    """Add to ``tree`` what apptainer needs, and nothing that is there already.

    Args:
        tree: a whole root file system; is changed.
        config: the image's.
        store: puts the bytes of a file where the tree's other files are.
        files: more that replace what is there, by their paths from the root.

    Returns:
        The paths that are ours now, relative to the root.
    """
    adding = _Adding(tree, store)
    for path in MOUNT_POINTS:
        adding.make_directory(path)
    adding.own_directory(FOLDER + b"/libs")
    for path in MOUNTED_FILES:
        adding.make_file(path)
    for name, target in LINKS.items():
        adding.make_link(name, target)
    for path, text in scripts(config).items():
        adding.put(FOLDER + b"/" + path, text.encode(errors="replace"))
    labels = json.dumps(dict(config.labels or {}), indent=1, sort_keys=True) + "\n"
    more = {FOLDER + b"/labels.json": labels.encode(), **files}
    for path, data in more.items():
        adding.put(path, data, mode=_FILE_MODE)
    return adding.added


class _Adding:
    """Puts things into a tree and remembers which.

    Attributes:
        added: the paths, symlinks on the way followed.
    """

    def __init__(self, tree: Tree, store: Callable[[bytes], Content]) -> None:
        self._tree = tree
        self._store = store
        self.added: set[bytes] = set()

    def make_directory(self, path: bytes) -> bytes | None:
        """Make a directory unless its name is taken; return where it really is."""
        parent, _, name = path.rpartition(b"/")
        place = self.make_directory(parent) if parent else b""
        if place is None:
            return None
        here = join(place, name)
        if self._tree.directories.find(place, name) is None:
            self._set(place, name, _STICKY_DIRECTORY if name == b"tmp" else _DIRECTORY)
            self._tree.directories[here] = {}
        return find_directory(self._tree, here)

    def make_file(self, path: bytes) -> None:
        """Make an empty file where there is no regular one."""
        parent, _, name = path.rpartition(b"/")
        place = find_directory(self._tree, parent)
        if place is None:
            return
        existing = self._tree.directories.find(place, name)
        if existing is None or not stat.S_ISREG(existing.mode):
            # A link to what exists only on a booted system cannot be bound over.
            self._set(place, name, Dirent(_FILE_MODE, content=self._store(b"")))

    def make_link(self, name: bytes, target: bytes) -> None:
        """Make a symlink in the root unless its name is taken."""
        if self._tree.directories.find(b"", name) is None:
            self._set(b"", name, Dirent(stat.S_IFLNK | 0o777, target=target))

    def own_directory(self, path: bytes) -> None:
        """See that a path is of directories alone, whatever stands in its way."""
        parent, _, name = path.rpartition(b"/")
        if parent:
            self.own_directory(parent)
        if path not in self._tree.directories:
            self._set(parent, name, _DIRECTORY)
            self._tree.directories[path] = {}

    def put(self, path: bytes, data: bytes, mode: int = _SCRIPT_MODE) -> None:
        """Put a file, whatever is there."""
        parent, _, name = path.rpartition(b"/")
        self.own_directory(parent)
        self._set(parent, name, Dirent(mode, content=self._store(data)))

    def _set(self, place: bytes, name: bytes, dirent: Dirent) -> None:
        gone = remove(self._tree, place, name)
        self.added |= gone
        self._tree.directories.put(place, name, dirent)
        self.added.add(join(place, name))


def _arguments(arguments: tuple[str, ...]) -> str:
    return " ".join(map(shlex.quote, arguments))
