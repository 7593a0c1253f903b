"""An image whose config says much, and what comes out however it is run."""

import re
import subprocess
from pathlib import Path

from tests.support.harness.jobs import JobRunner
from tests.support.images import tars
from tests.support.images.oci import Layer, gzip_layer
from tests.support.tools.crun import run_with_crun
from tests.support.tools.programs import require_program

# Says with NULs between: its directory, a variable, and what it was given.
_TELL = rb"""#!/bin/sh
printf '%s\0' "$PWD" "$GREETING" "$@"
"""
TELL = "/opt/tell"


def runnable_layer() -> Layer:
    """Return a layer with a shell, ``env``, and a program that tells what it is given.

    A container in it may begin in ``/work``.
    """
    entries = [
        tars.file(b"opt/tell", _TELL, mode=0o755),
        tars.directory(b"work"),
    ]
    libraries: set[str] = set()
    for name, program in (("bin/sh", "dash"), ("usr/bin/env", "env")):
        found = require_program(program)
        data = Path(found).read_bytes()
        entries.append(tars.file(name.encode(), data, mode=0o755))
        said = subprocess.run(["ldd", found], check=True, capture_output=True)
        libraries |= set(re.findall(r"(/\S+) \(", said.stdout.decode()))
    entries += [
        tars.file(path[1:].encode(), Path(path).read_bytes(), mode=0o755)
        for path in sorted(libraries)
    ]
    return gzip_layer(tars.tar(*entries))


NAME = "atlas/runnable:v1"
GREETING = 'it\'s ${HOME} "so"\n`id` \\'
ENTRYPOINT = [TELL, "two words", "$HOME", ""]
COMMAND = ["--flag=it's", "*", "ünï 😀"]
_CONFIG = {
    "config": {
        "Env": ["PATH=/opt:/usr/bin:/bin", f"GREETING={GREETING}"],
        "Entrypoint": ENTRYPOINT,
        "Cmd": COMMAND,
        "WorkingDir": "/work",
    }
}
_ENVIRONMENT = {"PATH": "/opt:/usr/bin:/bin", "GREETING": GREETING}
# Of what starts an image by its scripts, only the scripts know the image's variables.
_HOST = {"PATH": "/host/bin", "HOME": "/root"}
_TOLD = [GREETING, *ENTRYPOINT[1:]]
_RUN = "/.singularity.d/actions/run"
_EXEC = "/.singularity.d/actions/exec"


def publish(runner: JobRunner) -> None:
    """Publish the image."""
    repository, _, tag = NAME.partition(":")
    runner.registry.push_image(repository, tag, [runnable_layer()], config=_CONFIG)
    runner.publish(NAME)


def run_in_every_way(root: Path, folder: Path) -> None:
    """Run the image as its config says, and through the scripts of apptainer."""
    whole = [*ENTRYPOINT, *COMMAND]
    ran = run_with_crun(root, whole, _ENVIRONMENT, folder, directory="/work")
    assert ran == ["/work", *_TOLD, *COMMAND]

    script = "/.singularity.d/runscript"
    assert run_with_crun(root, [script], _ENVIRONMENT, folder) == [
        "/",
        *_TOLD,
        *COMMAND,
    ]
    assert run_with_crun(root, [_RUN], _HOST, folder) == ["/", *_TOLD, *COMMAND]
    # What the user gives stands in place of the image's command.
    assert run_with_crun(root, [_RUN, "own"], _HOST, folder) == ["/", *_TOLD, "own"]
    # And wins over the image's variables, but for the path.
    user = {**_HOST, "GREETING": "mine"}
    assert run_with_crun(root, [_EXEC, TELL, "x"], user, folder) == ["/", "mine", "x"]
    said = run_with_crun(root, [_EXEC, "env", "-0"], _HOST, folder)
    assert f"GREETING={GREETING}" in said
    assert "PATH=/opt:/usr/bin:/bin" in said
