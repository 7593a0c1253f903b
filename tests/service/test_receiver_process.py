"""The receiver as a process of its own, under more than it can take."""

import contextlib
import hashlib
import http.client
import json
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import requests

from tests.support.harness.notifications import event
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.service import run_receiver_process
from tests.support.harness.web_app import write_config
from tests.support.registries.distribution import (
    NotificationEndpoint,
    distribution_registry,
)
from tests.support.tools.waiting import wait_until
from workers.ledger import Ledger

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

BEARER = {
    "Authorization": "Bearer s3cret",
    "Content-Type": "application/vnd.docker.distribution.events.v1+json",
}
HUB = {
    "push_data": {"tag": "1.4.2", "pushed_at": 1760000000, "pusher": "acmebot"},
    "repository": {"repo_name": "acme/web"},
}


def test_the_server_refuses_a_hundred_megabytes_and_goes_on(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    config = write_config(tmp_path, redis_server, "keep_alive_seconds: 1\n")
    with run_receiver_process(config, log) as port:
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        kept.request("GET", "/healthz")
        assert kept.getresponse().read()

        def post(path: str, body: object, headers: dict[str, str]) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.request("POST", path, body, headers)  # type: ignore[arg-type] # any body
            except (BrokenPipeError, ConnectionResetError):
                # It was refused while we were still sending; the answer is there,
                # unless the kernel has thrown it away with the connection.
                assert connection.sock
                with contextlib.suppress(ConnectionResetError):
                    return int(connection.sock.recv(1000).split()[1])
                return 200
            else:
                return connection.getresponse().status
            finally:
                connection.close()

        megabyte = b" " * 1_000_000
        chunks = (megabyte for _ in range(100))
        announced = BEARER | {"Content-Length": "100000000"}

        def good() -> bytes:
            return json.dumps(
                {"events": [event(id=f"{random.getrandbits(64):016x}")]}
            ).encode()

        assert post("/hooks/local", chunks, BEARER) == 200
        assert next(chunks, None) is not None, "all of it was read"
        assert post("/hooks/local", b"", announced) == 200
        with redis_server.client() as connection:
            refused = Ledger(connection).deliveries()
        assert [one.events[0].reason for one in refused] == [
            "the notification is too large"
        ] * 2
        assert post("/hooks/local", iter([good()]), BEARER) == 202
        assert post("/hooks/local", good(), BEARER) == 202
        hub = json.dumps(HUB).encode()
        json_type = {"Content-Type": "application/json"}
        assert post("/hooks/hub/s3cret", hub, json_type) == 202
        assert post("/hooks/hub/wr0ng-s3cret", hub, json_type) == 404
        assert kept.sock
        assert kept.sock.recv(1) == b"", "it is kept longer than the setting says"
        kept.close()
    assert "s3cret" not in log.read_text()


def test_large_notifications_leave_no_memory_behind(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    config = write_config(tmp_path, redis_server)
    large = event(request={"useragent": "HERE"})
    body = json.dumps({"events": [large]}).replace("HERE", "\\u003c" * 4_000_000)
    with run_receiver_process(config, tmp_path / "log") as port:
        url = f"http://127.0.0.1:{port}/hooks/local"
        for _ in range(5):  # as many threads of each process have had one
            assert requests.post(url, body, headers=BEARER, timeout=30).ok
        held, most = memory_of(config, "VmRSS"), memory_of(config, "VmHWM")
    assert len(held) == 3  # gunicorn's own and two that answer
    assert max(held) < 200
    assert max(most) < 300


def memory_of(config: Path, which: str) -> list[int]:
    """Return MiB of each process that was started with a configuration."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if str(config) in (process / "cmdline").read_text():
                status = (process / "status").read_text()
                size = status.partition(f"{which}:")[2].split()[0]
                found.append(int(size) // 1024)
    return found


def test_no_event_of_a_real_registry_stops_the_push_behind_it(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    config = write_config(tmp_path, redis_server)
    with run_receiver_process(config, tmp_path / "log") as port:
        endpoint = NotificationEndpoint(
            f"http://127.0.0.1:{port}//hooks/local/",
            {"Authorization": BEARER["Authorization"]},
        )
        with distribution_registry(
            tmp_path / "registry", endpoints=[endpoint], references=True
        ) as host:
            push(host, "team/first:1")
            manifest = f"http://{host}/v2/team/first/manifests/1"
            # Go's encoder makes six bytes of each.
            name = {"Accept": MANIFEST, "User-Agent": "<" * 180_000}
            assert requests.get(manifest, headers=name, timeout=30).ok
            push(host, "team/annotated:1", {"a": "<" * 1_100_000})
            push(host, "team/after:1")

            with redis_server.client() as connection:
                ledger = Ledger(connection)
                for told in ("first", "annotated", "after"):
                    reference = f"registry.example/team/{told}:1"
                    arrived = partial(ledger.image, reference)
                    wait_until(arrived, f"the push of {reference} has arrived")
    log = (tmp_path / "log").read_text()
    assert "status=4" not in log


def push(
    host: str, reference: str, annotations: Mapping[str, str] | None = None
) -> None:
    """Push a manifest of one layer, with annotations of that."""
    name, _, tag = reference.partition(":")
    base = f"http://{host}/v2/{name}"

    def blob(data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        start = requests.post(f"{base}/blobs/uploads/", timeout=30)
        to = f"{start.headers['Location']}&digest={digest}"
        assert requests.put(to, data=data, timeout=30).ok
        return {"digest": digest, "size": len(data)}

    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **blob(b"{}")}
    layer = {"mediaType": LAYER, **blob(bytes(1024)), "annotations": annotations or {}}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config}
    body = json.dumps(document | {"layers": [layer]})
    kind = {"Content-Type": MANIFEST}
    answer = requests.put(
        f"{base}/manifests/{tag}", data=body, headers=kind, timeout=30
    )
    assert answer.status_code == 201, answer.text
