"""The whole service as an operator runs it: ``cvmfs-webhook up`` as a process.

with ServiceProcess(tmp_path, registry="127.0.0.1:5000") as service:
    service.allow("127.0.0.1:5000/**")
    skopeo_copy(...)
    image = service.wait_until("127.0.0.1:5000/atlas/debian:12", "live")
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import requests

from tests.support.harness.redis_server import DEADLINE_SECONDS
from tests.support.registries.distribution import NotificationEndpoint
from tests.support.tools.programs import free_port
from webhook.machine.first_start import FQRN

SECRET = "a secret of the tests"
TOKEN = "a token of the tests"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
FIVE_MINUTES = 300.0


class ServiceProcess:
    """One ``up`` in a folder of its own; may be killed and started again.

    Attributes:
        url: of the receiver.
        repository: of the repository's storage.
    """

    def __init__(
        self,
        folder: Path,
        *,
        registry: str,
        registries: Mapping[str, str] | None = None,
        more: str = "",
        listen: str | None = None,
        ttl: int = 60,
    ) -> None:
        """Write its configuration.

        Args:
            folder: for all that it keeps.
            registry: host:port that speaks at ``endpoint``.
            registries: settings by host, YAML; absent: plain HTTP at ``registry``.
            more: lines for the end of the configuration.
            listen: host:port; absent: a free one.
            ttl: seconds between two looks of a client.
        """
        self.folder = folder
        self.listen = listen or f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.listen}"
        self.config = folder / "config.yaml"
        self.storage = folder / "cvmfs" / FQRN
        self.key = folder / "keys" / f"{FQRN}.pub"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        settings = registries or {registry: "{plain_http: true}"}
        named = "".join(f'  "{host}": {text}\n' for host, text in settings.items())
        self.config.write_text(
            f"""\
listen: {self.listen}
state: .
policy: policy.yaml
workers: 2
operator: {{token: {TOKEN}}}
sources:
  local: {{kind: distribution, registry: "{registry}", secret: {SECRET}}}
registries:
{named}repositories:
  {FQRN}: {{storage: "{self.storage.as_uri()}", keys: keys, ttl: {ttl}}}
{more}"""
        )
        self.write_policy("rules: []")

    @property
    def log(self) -> Path:
        """Where the output of the service and its children goes."""
        return self.folder / "up.log"

    @property
    def endpoint(self) -> NotificationEndpoint:
        """What a registry's administrator configures."""
        headers = {"Authorization": f"Bearer {SECRET}"}
        return NotificationEndpoint(f"{self.url}/hooks/local", headers)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if kind is not None:
            sys.stderr.write(self.log.read_text(errors="replace")[-8000:])

    def start(self) -> None:
        """Start and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "webhook.cli", "up", "--config", self.config],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        for _ in self._until("the service is ready"):
            if self._process.poll() is not None:
                pytest.fail(f"up ended:\n{self.log.read_text(errors='replace')}")
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{self.url}/readyz", timeout=5).ok:
                    return

    def stop(self) -> int:
        """End it as Ctrl-C does; return its exit code."""
        assert self._process
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def kill_queue_server(self) -> None:
        """Kill the queue server alone."""
        assert self._process
        parent = str(self._process.pid)
        subprocess.run(["pkill", "-KILL", "--parent", parent, "valkey"], check=True)

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def write_policy(self, text: str) -> None:
        """Replace the policy, as an editor does."""
        policy = self.folder / "policy.yaml"
        aside = policy.with_suffix(".new")
        aside.write_text(f"version: 1\n{text}\n")
        aside.replace(policy)

    def allow(self, pattern: str) -> None:
        """Write a policy with one rule."""
        self.write_policy(f'rules: [{{allow: "{pattern}"}}]')

    def run(self, *words: str | Path, check: bool = True) -> str:
        """Run a command of the service's and return what it prints."""
        done = self.run_raw(*words)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run_raw(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the service's."""
        return subprocess.run(
            [sys.executable, "-m", "webhook.cli", *words],
            env={**os.environ, "CVMFS_WEBHOOK_CONFIG": str(self.config)},
            check=False,
            capture_output=True,
            text=True,
            timeout=FIVE_MINUTES,
        )

    def image(self, reference: str) -> Mapping[str, object] | None:
        """Return what the API tells the operator of an image."""
        url = f"{self.url}/api/v1/images/{reference}"
        answer = requests.get(url, headers=OPERATOR, timeout=10)
        if answer.status_code == requests.codes.not_found:
            return None
        document = answer.json()
        assert isinstance(document, dict)
        return document

    def wait_until(
        self, reference: str, *states: str, digest: str | None = None
    ) -> Mapping[str, object]:
        """Wait until an image is in one of the states, of that digest if given."""
        image = None
        for _ in self._until(f"{reference} is one of {states}"):
            with contextlib.suppress(requests.ConnectionError):
                image = self.image(reference)
            if (
                image is not None
                and image["state"] in states
                and digest in (None, image["digest"])
            ):
                return image
        raise AssertionError

    def wait_until_revision_above(
        self, reference: str, revision: object
    ) -> Mapping[str, object]:
        """Wait until an image was published again."""
        assert isinstance(revision, int)
        for _ in self._until(f"{reference} is published after revision {revision}"):
            image = self.image(reference)
            if image is not None and image["state"] == "live":
                newer = image["revision"]
                if isinstance(newer, int) and newer > revision:
                    return image
        raise AssertionError

    def processes(self, verb: str) -> list[int]:
        """Return the ids of the children that run a verb, work horses included."""
        assert self._process
        found = []
        for stat in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = stat.read_bytes().split(b"\0")
                if str(self.config).encode() in words and verb.encode() in words:
                    found.append(int(stat.parent.name))
        return sorted(found)

    def _until(self, what: str, seconds: float = FIVE_MINUTES) -> Iterator[None]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            yield
            time.sleep(0.05)
        pytest.fail(f"waited in vain until {what}; images: {self._images()}")

    def _images(self) -> str:
        with contextlib.suppress(requests.RequestException):
            url = f"{self.url}/api/v1/images"
            return requests.get(url, headers=OPERATOR, timeout=10).text
        return "no answer"


@contextmanager
def run_receiver_process(path: Path, log: Path) -> Iterator[int]:
    """Run the receiver as an operator does, its output into ``log``; give its port."""
    port = free_port()
    command = [sys.executable, "-m", "webhook.cli", "serve", "--config", str(path)]
    command += ["--listen", f"127.0.0.1:{port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not _answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_SECONDS)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10).ok
    except requests.ConnectionError:
        return False
