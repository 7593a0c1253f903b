"""What apptainer and singularity need inside a root file system.

The flat tree is used as a sandbox: ``apptainer exec /cvmfs/…/atlas/analysis:v1 cmd``.
CVMFS is read-only, so every mount point has to be there already, and the scripts in
``.singularity.d`` say how to run the image, as ``apptainer build`` would have written
them. Nothing that the image has is overwritten but those scripts.

Source: ``cvmfs-format`` notes on DUCC and apptainer's ``oci`` conveyor: names of files,
meaning of the variables. The scripts are ours: arguments are kept as the positional
parameters of the shell, so that every byte a Dockerfile can hold arrives unchanged.
"""

import json
import re
import shlex
import stat
from collections.abc import Callable

from workers.cvmfs import Content, Dirent, Tree
from workers.images.manifest import ImageConfig
from workers.images.names import join
from workers.images.places import find_directory, remove

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

_SOURCE_ENVIRONMENT = """\
#!/bin/sh
for script in /.singularity.d/env/*.sh; do
    if [ -f "$script" ]; then
        . "$script"
    fi
done
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
    for script in "$SCIF_APPROOT"/scif/env/*.sh; do
        if [ -f "$script" ]; then
            . "$script"
        fi
    done
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


def environment_script(environment: tuple[str, ...]) -> str:
    """Return the script that sets the image's variables where the user has not.

    ``PATH`` is the image's alone: the host's has no meaning inside. Names that no
    shell can set are left out.
    """
    lines = ["#!/bin/sh"]
    for setting in environment:
        name, equals, value = setting.partition("=")
        if not _VARIABLE.fullmatch(name):
            continue
        if name == "PATH":
            lines.append(f"{name}={shlex.quote(value)}")
        elif equals:
            # In an assignment nothing is split, and quotes within ${…} still quote.
            lines.append(f"{name}=${{{name}:-{shlex.quote(value)}}}")
        else:
            lines.append(f"{name}=${{{name}:-}}")
        lines.append(f"export {name}")
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
        b"actions/run": _SOURCE_ENVIRONMENT + _RUN % run + "\nexec /bin/sh\n",
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
    tree: Tree, config: ImageConfig, store: Callable[[bytes], Content]
) -> None:
    """Add to ``tree`` what apptainer needs, and nothing that is there already.

    Args:
        tree: a whole root file system; is changed.
        config: the image's.
        store: puts the bytes of a file where the tree's other files are.
    """
    for path in (*MOUNT_POINTS, FOLDER + b"/libs"):
        _make_directory(tree, path)
    for path in MOUNTED_FILES:
        _make_file(tree, path, store)
    for name, target in LINKS.items():
        if name not in tree.directories[b""]:
            link = Dirent(stat.S_IFLNK | 0o777, target=target)
            tree.directories[b""][name] = link
    for path, text in scripts(config).items():
        _put(tree, FOLDER + b"/" + path, text.encode(errors="replace"), store)
    labels = json.dumps(dict(config.labels or {}), indent=1, sort_keys=True) + "\n"
    _put(tree, FOLDER + b"/labels.json", labels.encode(), store, mode=_FILE_MODE)


def _arguments(arguments: tuple[str, ...]) -> str:
    return " ".join(map(shlex.quote, arguments))


def _make_directory(tree: Tree, path: bytes) -> bytes | None:
    """Make a directory unless its name is taken; return where it really is."""
    parent, _, name = path.rpartition(b"/")
    place = _make_directory(tree, parent) if parent else b""
    if place is None:
        return None
    if name not in tree.directories[place]:
        is_temporary = name == b"tmp"
        made = _STICKY_DIRECTORY if is_temporary else _DIRECTORY
        tree.directories[place][name] = made
        tree.directories[join(place, name)] = {}
    return find_directory(tree, join(place, name))


def _make_file(tree: Tree, path: bytes, store: Callable[[bytes], Content]) -> None:
    parent, _, name = path.rpartition(b"/")
    place = find_directory(tree, parent)
    if place is None:
        return
    existing = tree.directories[place].get(name)
    if existing is None or not stat.S_ISREG(existing.mode):
        # A link to somewhere that exists only on a booted system cannot be bound over.
        remove(tree, place, name)
        tree.directories[place][name] = Dirent(_FILE_MODE, content=store(b""))


def _put(
    tree: Tree,
    path: bytes,
    data: bytes,
    store: Callable[[bytes], Content],
    mode: int = _SCRIPT_MODE,
) -> None:
    parent, _, name = path.rpartition(b"/")
    place = _make_directory(tree, parent)
    if place is not None:
        remove(tree, place, name)
        tree.directories[place][name] = Dirent(mode, content=store(data))
