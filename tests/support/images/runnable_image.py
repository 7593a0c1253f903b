"""An image whose config says much, and what comes out however it is run."""

from pathlib import Path

from tests.support.harness.jobs import JobRunner
from tests.support.tools.crun import TELL, run_in, runnable_layer

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
    ran = run_in(root, whole, _ENVIRONMENT, folder, directory="/work")
    assert ran == ["/work", *_TOLD, *COMMAND]

    script = "/.singularity.d/runscript"
    assert run_in(root, [script], _ENVIRONMENT, folder) == ["/", *_TOLD, *COMMAND]
    assert run_in(root, [_RUN], _HOST, folder) == ["/", *_TOLD, *COMMAND]
    # What the user gives stands in place of the image's command.
    assert run_in(root, [_RUN, "own"], _HOST, folder) == ["/", *_TOLD, "own"]
    # And wins over the image's variables, but for the path.
    user = {**_HOST, "GREETING": "mine"}
    assert run_in(root, [_EXEC, TELL, "x"], user, folder) == ["/", "mine", "x"]
    said = run_in(root, [_EXEC, "env", "-0"], _HOST, folder)
    assert f"GREETING={GREETING}" in said
    assert "PATH=/opt:/usr/bin:/bin" in said
