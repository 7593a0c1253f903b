"""The whole service beside a registry that can be made to misbehave.

What must hold whatever happened is checked at the end: good images still go
live, the repository is sound, no traceback was logged, and no secret is anywhere.
"""

import base64
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import redis
import requests

from tests.support.harness.service import OPERATOR, SECRET, TOKEN, ServiceProcess
from tests.support.images.oci import Image, Layer, tar_of
from tests.support.registries.fake_registry import FakeRegistry
from tests.support.tools.mounting import mount
from tests.support.tools.programs import free_port
from tests.support.tools.waiting import wait_until
from webhook.machine.first_start import FQRN
from workers.config import load_config
from workers.jobqueue.connection import connect

EVENTS = "application/vnd.docker.distribution.events.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LONG_AGO = "2020-01-01T00:00:00Z"


@dataclass
class ServiceWithRegistry:
    """A service, a registry, and what was asked of them.

    Attributes:
        dead: host:port of a configured registry that nobody answers at.
        pushed: references of good images, which must all be live in the end.
    """

    process: ServiceProcess
    registry: FakeRegistry
    dead: str
    pushed: list[str] = field(default_factory=list)

    def reference(self, name: str) -> str:
        return f"{self.registry.host}/{name}"

    def notify(
        self,
        repository: str,
        tag: str | None,
        digest: str | None = None,
        *,
        is_fresh: bool = False,
        media_type: str = MANIFEST,
        session: requests.Session | None = None,
    ) -> requests.Response:
        """Send what a registry sends; what is not fresh is looked up only once."""
        time = datetime.now(UTC).isoformat() if is_fresh else _LONG_AGO
        target = {"repository": repository, "tag": tag, "mediaType": media_type}
        if digest is not None:
            target["digest"] = digest
        event = {"id": os.urandom(8).hex(), "timestamp": time, "action": "push"}
        return self.post({"events": [{**event, "target": target}]}, session)

    def post(
        self, document: object, session: requests.Session | None = None
    ) -> requests.Response:
        endpoint = self.process.endpoint
        headers = {**endpoint.headers, "Content-Type": EVENTS}
        post = session.post if session else requests.post
        return post(endpoint.url, json=document, headers=headers, timeout=30)

    def ask(self, reference: str) -> requests.Response:
        """Ask for an image as the operator."""
        return requests.post(
            f"{self.process.url}/api/v1/images",
            json={"reference": reference},
            headers=OPERATOR,
            timeout=30,
        )

    def push(
        self,
        name: str,
        layers: Sequence[bytes | Layer] | None = None,
        *,
        config: Mapping[str, object] | None = None,
    ) -> str:
        """Push an image and tell of it; return its reference."""
        repository, _, tag = name.partition(":")
        layers = layers or [tar_of({"name": name.encode()})]
        image = self.registry.push_image(repository, tag, layers, config=config)
        self.tell(name, image)
        return self.reference(name)

    def tell(self, name: str, image: Image) -> None:
        """Notify of an image until that is accepted, as registries do."""
        repository, _, tag = name.partition(":")

        def is_kept() -> bool:
            answer = self.notify(repository, tag, image.digest)
            assert answer.status_code in {202, 503}, answer.text
            return answer.status_code == 202

        wait_until(is_kept, f"the push of {name} is accepted")

    def push_good(self, name: str) -> str:
        """Push an image that has to be live in the end."""
        reference = self.push(f"good/{name}")
        self.pushed.append(reference)
        return reference

    def wait_until_live(self, reference: str) -> Mapping[str, object]:
        image = self.process.wait_until(reference, "live")
        assert image["state"] == "live"
        return image

    def connection(self) -> redis.Redis:
        """A connection to the service's own queue server."""
        config = load_config(self.process.config, {})
        return connect(config)

    def secrets(self) -> list[str]:
        """Everything that nobody may ever read."""
        password = ":".join(self.registry.credentials)
        basic = base64.b64encode(password.encode()).decode()
        tokens = list(self.registry._tokens)
        return [SECRET, TOKEN, self.registry.credentials[1], basic, *tokens]

    def log(self) -> str:
        """What was logged, and said at the start."""
        return self.process.log.read_text(errors="replace")


@contextmanager
def run_service_with_registry(
    folder: Path, policy: str = "", *, storage_size: str = ""
) -> Iterator[ServiceWithRegistry]:
    """Run a service whose registry allows everything but what ``policy`` says before.

    Args:
        folder: for all of it.
        policy: further rules, which come first; ``HOST`` stands for the registry.
        storage_size: put the repository on a file system of its own, so large.
    """
    dead = f"127.0.0.1:{free_port()}"
    with FakeRegistry() as registry:
        username, password = registry.credentials
        login = f'{{plain_http: true, username: {username}, password: "{password}"}}'
        registries = {registry.host: login, dead: "{plain_http: true}"}
        process = ServiceProcess(
            folder / "service", registry=registry.host, registries=registries
        )
        rules = f'{policy}\n  - allow: "HOST/**"\n  - allow: "{dead}/**"\n'
        process.write_policy(f"rules:\n{rules}".replace("HOST", registry.host))
        with _mounted(process.storage, storage_size), process:
            service = ServiceWithRegistry(process, registry, dead)
            yield service
            _check_all_is_well(service)


@contextmanager
def _mounted(storage: Path, size: str) -> Iterator[None]:
    if not size:
        yield
        return
    storage.mkdir(parents=True)
    mount(storage, f"size={size}", "-t", "tmpfs", "tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", storage], check=True)


def _check_all_is_well(service: ServiceWithRegistry) -> None:
    """Whatever happened before: see the module."""
    service.push_good("last:1")
    for reference in service.pushed:
        service.wait_until_live(reference)
    assert "no problems" in service.process.run("repository", "check", FQRN)
    told = _everything_told(service)
    assert "Traceback" not in told["log"], told["log"]
    for secret in service.secrets():
        leaks = [where for where, text in told.items() if secret in text]
        assert not leaks, f"{secret!r} is in {leaks}"


def _everything_told(service: ServiceWithRegistry) -> dict[str, str]:
    """Return what is readable by anybody, or kept, by where it stands."""
    url = service.process.url
    every = f"{url}/api/v1/images?limit=500"
    listing = requests.get(every, headers=OPERATOR, timeout=10).json()
    names = [image["reference"] for image in listing["images"]]
    pages = ["/", "/readyz", "/api/v1/images?limit=500", "/api/v1/events", "/metrics"]
    pages += ["/deliveries", "/api/v1/deliveries", "/queue/"]
    for name in names:
        pages += [f"/images/{name}", f"/api/v1/images/{name}"]
    told = {"log": service.log(), "status": service.process.run("status")}
    for page in pages:
        answer = requests.get(f"{url}{page}", headers=OPERATOR, timeout=10)
        assert answer.ok, (page, answer.status_code)
        told[page] = answer.text
    with service.connection() as connection:
        for key in connection.scan_iter(count=1000):
            told[f"redis {key!r}"] = repr((key, _value(connection, key)))
    server_log = service.process.folder / "queue" / "server.log"
    told["queue server's log"] = server_log.read_text(errors="replace")
    return told


def _value(connection: redis.Redis, key: bytes) -> object:
    kind = connection.type(key)
    if kind == b"hash":
        return connection.hgetall(key)
    if kind == b"list":
        return connection.lrange(key, 0, -1)
    if kind == b"set":
        return connection.smembers(key)
    if kind == b"zset":
        return connection.zrange(key, 0, -1)
    if kind == b"stream":
        return connection.xrange(key)
    return connection.get(key)


def checked_reason(text: object) -> str:
    """Return a reason, which must be one printable line without our own paths."""
    assert isinstance(text, str)
    assert text
    assert text.isprintable(), text
    assert not re.search(r"\.py\b|Error\b|Exception|<class", text), text
    return text
