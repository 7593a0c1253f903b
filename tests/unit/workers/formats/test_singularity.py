"""Apptainer's scripts in the image run as the image's author meant.

The scripts are run by real shells. What a script under test runs is ``printf`` or
``env``, which say with NULs between what they were given.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.formats.singularity import (
    environment_script,
    run_script,
    scripts,
)
from workers.images.manifest import ImageConfig
from workers.images.platforms import Platform

LINUX = Platform.parse("linux/amd64")
AWKWARD = (
    "",
    " ",
    "two words",
    "it's",
    '"quoted"',
    "$HOME ${HOME} $(id) `id`",
    "}",
    "'}'\"}",
    "back\\slash\\",
    "new\nline\n",
    "tab\there",
    "~",
    "~/x:~/y",
    "*",
    "?[a-z]*",
    "-n",
    "--",
    "!",
    "#no comment",
    "a=b",
    ";exit 1",
    "&& false",
    "\x01\x7f\x1b[31m",
    "ünïcödé 😀",
)
TEXTS = st.text(
    st.one_of(
        st.sampled_from("'\"$`\\{}()[]~*?!#&;|<> \t\n=:-/aZ0"),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    ),
    max_size=12,
)


# More than these two if there are.
SHELLS = ["dash", "bash", *filter(shutil.which, ["busybox", "mksh"])]


@pytest.fixture(params=SHELLS, scope="module")
def shell(request: pytest.FixtureRequest) -> list[str]:
    """Give the command of a shell as it behaves when it is ``/bin/sh``."""
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    return {"bash": [found, "--posix"], "busybox": [found, "sh"]}.get(
        request.param, [found]
    )


def said_by(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> list[str]:
    """Run a command; return what it wrote, cut at each NUL."""
    done = subprocess.run(
        command, env=environment or {}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().split("\0")[:-1]


# How the image runs.


def run(shell: list[str], script: str, folder: Path, *user: str) -> list[str]:
    path = folder / "runscript"
    path.write_text(script, newline="")
    return said_by([*shell, str(path), *user])


PRINT = ("/usr/bin/printf", "%s\\0")


def test_entrypoint_and_command_arrive_unchanged(
    shell: list[str], tmp_path: Path
) -> None:
    script = run_script((*PRINT, *AWKWARD), AWKWARD)
    assert run(shell, script, tmp_path) == [*AWKWARD, *AWKWARD]


def test_what_the_user_says_replaces_the_command_and_arrives_unchanged(
    shell: list[str], tmp_path: Path
) -> None:
    script = run_script(PRINT, ("the", "command"))
    assert run(shell, script, tmp_path, *AWKWARD) == list(AWKWARD)
    assert run(shell, script, tmp_path, "") == [""]
    assert run(shell, script, tmp_path) == ["the", "command"]


def test_without_an_entrypoint_the_user_says_what_runs(
    shell: list[str], tmp_path: Path
) -> None:
    script = run_script((), (*PRINT, "the", "command"))
    assert run(shell, script, tmp_path) == ["the", "command"]
    assert run(shell, script, tmp_path, *PRINT, "other") == ["other"]


def test_an_entrypoint_may_be_alone(shell: list[str], tmp_path: Path) -> None:
    script = run_script((*PRINT, "fixed"), ())
    assert run(shell, script, tmp_path) == ["fixed"]
    assert run(shell, script, tmp_path, "more") == ["fixed", "more"]


def test_without_anything_a_shell_runs(shell: list[str], tmp_path: Path) -> None:
    script = run_script((), ())
    assert run(shell, script, tmp_path) == []
    assert run(shell, script, tmp_path, *PRINT, "x") == ["x"]


def test_the_runs_exit_code_is_that_of_the_program(
    shell: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "runscript"
    path.write_text(run_script(("/bin/sh", "-c"), ("exit 7",)))
    assert subprocess.run([*shell, str(path)], check=False).returncode == 7


@given(entrypoint=st.lists(TEXTS, max_size=4), command=st.lists(TEXTS, max_size=4))
@example(entrypoint=list(AWKWARD), command=["}"])
def test_any_arguments_arrive_unchanged(
    shell: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    entrypoint: list[str],
    command: list[str],
) -> None:
    script = run_script((*PRINT, "first", *entrypoint), tuple(command))
    folder = tmp_path_factory.mktemp("run")
    assert run(shell, script, folder) == ["first", *entrypoint, *command]


# Its variables.


def variables(
    shell: list[str], settings: Sequence[str], user: dict[str, str] | None = None
) -> dict[str, str]:
    """Return what is exported once the settings of an image have been sourced."""
    script = environment_script(tuple(settings)) + "exec /usr/bin/env -0\n"
    said = said_by([*shell, "-c", script], {"PATH": "/usr/bin:/bin", **(user or {})})
    return dict(setting.split("=", 1) for setting in said)


def test_variables_arrive_unchanged(shell: list[str]) -> None:
    wanted = {f"V{number}": value for number, value in enumerate(AWKWARD)}
    settings = [f"{name}={value}" for name, value in wanted.items()]
    found = variables(shell, settings)
    assert {name: found[name] for name in wanted} == wanted


def test_what_the_user_has_set_wins(shell: list[str]) -> None:
    user = {f"V{number}": value for number, value in enumerate(AWKWARD) if value}
    found = variables(shell, [f"{name}=the image's" for name in user], user)
    assert {name: found[name] for name in user} == user


def test_what_the_user_has_set_to_nothing_counts_as_not_set(shell: list[str]) -> None:
    assert variables(shell, ["A=1"], {"A": ""})["A"] == "1"


def test_the_path_is_that_of_the_image(shell: list[str]) -> None:
    found = variables(shell, ["PATH=/own/bin:/usr/bin"], {"PATH": "/host/bin"})
    assert found["PATH"] == "/own/bin:/usr/bin"


def test_a_variable_without_a_value_is_empty_or_the_users(shell: list[str]) -> None:
    assert variables(shell, ["A"])["A"] == ""
    assert variables(shell, ["A"], {"A": "1"})["A"] == "1"


def test_of_two_settings_the_last_counts(shell: list[str]) -> None:
    assert variables(shell, ["A=1", "A=2"])["A"] == "2"


def test_names_that_no_shell_can_set_are_left_out(shell: list[str]) -> None:
    settings = ["1A=x", "A-B=x", "=x", "", "é=x", "A.B=x", "A\nB=x", "$(id)=x", "OK=1"]
    found = variables(shell, settings)
    assert found["OK"] == "1"
    assert not [name for name, value in found.items() if value == "x"]


def test_names_that_shells_keep_for_themselves_do_no_harm(shell: list[str]) -> None:
    kept = ["UID", "EUID", "GID", "PPID", "BASHOPTS", "SHELLOPTS", "BASH_VERSINFO"]
    odd = [
        "IFS",
        "PS1",
        "ENV",
        "HOME",
        "PWD",
        "_",
        "OPTIND",
        "LINENO",
        "RANDOM",
        "script",
    ]
    assert variables(shell, [f"{name}=1000" for name in (*kept, *odd, "OK")])["OK"]


@given(value=TEXTS, user=TEXTS)
def test_any_value_arrives_unchanged(shell: list[str], value: str, user: str) -> None:
    found = variables(shell, [f"A={value}", f"B={value}"], {"B": user})
    assert (found["A"], found["B"]) == (value, user or value)


# All of it together, in a root of its own.


@pytest.fixture
def root(shell: list[str], tmp_path: Path) -> Path:
    """Make a root file system whose ``/bin/sh`` is the shell."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can change its root")
    for name in ("usr", "lib", "lib64", "proc", "bin", ".singularity.d"):
        (tmp_path / name).mkdir()
    shutil.copy(shell[0], tmp_path / "bin" / "sh")
    return tmp_path


def in_root(
    root: Path, command: Sequence[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run a command where ``root`` is the root and the host's programs are there."""
    mount = (
        'for place in usr lib lib64; do mount --bind "/$place" "$1/$place"; done; '
        'root=$1; shift; exec chroot "$root" "$@"'
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-ec", mount, "sh", str(root), *command],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        check=False,
    )


def install(root: Path, config: ImageConfig) -> None:
    for name, text in scripts(config).items():
        path = root / ".singularity.d" / name.decode()
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, newline="")
        path.chmod(0o755)


ENVIRONMENT = ("PATH=/usr/bin:/bin", "A=it's ${HOME}\n}", "UID=1000", "script=kept")


def test_the_actions_run_the_image_with_its_variables(root: Path) -> None:
    config = ImageConfig(LINUX, (), ENVIRONMENT, ("/usr/bin/env",), ("-0",))
    install(root, config)
    for action in (["run"], ["exec", "/usr/bin/env", "-0"]):
        done = in_root(root, [f"/.singularity.d/actions/{action[0]}", *action[1:]], {})
        assert (done.returncode, done.stderr) == (0, b"")
        found = dict(
            setting.split("=", 1) for setting in done.stdout.decode().split("\0")[:-1]
        )
        assert found["A"] == "it's ${HOME}\n}"
        assert found["script"] == "kept"
        assert found["LD_LIBRARY_PATH"] == "/.singularity.d/libs"
        assert found["PATH"] == "/usr/bin:/bin"
        assert not [name for name in found if name.startswith("_singularity")]


def test_arguments_go_through_all_the_scripts_unchanged(root: Path) -> None:
    install(root, ImageConfig(LINUX, (), ENVIRONMENT, PRINT, ("command",)))
    for command, expected in (
        (["run"], ["command"]),
        (["run", *AWKWARD], list(AWKWARD)),
        (["exec", *PRINT, *AWKWARD], list(AWKWARD)),
    ):
        action, *arguments = command
        done = in_root(root, [f"/.singularity.d/actions/{action}", *arguments], {})
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode().split("\0")[:-1] == expected


def test_the_user_may_add_to_the_path_or_replace_it(root: Path) -> None:
    install(root, ImageConfig(LINUX, (), ENVIRONMENT))
    for user, expected in (
        ({"SING_USER_DEFINED_PREPEND_PATH": "/a"}, "/a:/usr/bin:/bin"),
        ({"SING_USER_DEFINED_APPEND_PATH": "/z"}, "/usr/bin:/bin:/z"),
        ({"SING_USER_DEFINED_PATH": "/only"}, "/only"),
    ):
        command = ["/.singularity.d/actions/exec", "/usr/bin/env", "-0"]
        found = in_root(root, command, user).stdout.decode().split("\0")
        assert f"PATH={expected}" in found
        assert not [setting for setting in found if setting.startswith("SING_USER")]


def test_libraries_of_the_user_come_first(root: Path) -> None:
    install(root, ImageConfig(LINUX, ()))
    user = {"LD_LIBRARY_PATH": "/own"}
    command = ["/.singularity.d/actions/exec", "/usr/bin/env", "-0"]
    found = in_root(root, command, user).stdout.decode().split("\0")
    assert "LD_LIBRARY_PATH=/own:/.singularity.d/libs" in found
    assert "PS1=Singularity> " in found


def test_the_shell_and_test_actions_run(root: Path) -> None:
    install(root, ImageConfig(LINUX, (), ENVIRONMENT))
    done = in_root(root, ["/.singularity.d/actions/shell", "-c", 'echo "$A"'], {})
    assert (done.returncode, done.stdout) == (0, b"it's ${HOME}\n}\n")
    assert in_root(root, ["/.singularity.d/actions/test"], {}).returncode == 0


def test_an_application_that_is_not_there_is_told(root: Path) -> None:
    install(root, ImageConfig(LINUX, (), ENVIRONMENT))
    done = in_root(
        root, ["/.singularity.d/actions/run"], {"SINGULARITY_APPNAME": "nothing"}
    )
    assert done.returncode == 1
    assert b"No application nothing" in done.stderr
