"""The receiver as a process of its own, under more than it can take."""

import contextlib
import http.client
import json
import random
from pathlib import Path

from tests.support.harness.notifications import event
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.service import run_receiver_process
from tests.support.harness.web_app import write_config

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
    config = write_config(tmp_path, redis_server)
    with run_receiver_process(config, log) as port:

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
                return 413
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

        assert post("/hooks/local", chunks, BEARER) == 413
        assert next(chunks, None) is not None, "all of it was read"
        assert post("/hooks/local", b"", announced) == 413
        assert post("/hooks/local", iter([good()]), BEARER) == 202
        assert post("/hooks/local", good(), BEARER) == 202
        hub = json.dumps(HUB).encode()
        json_type = {"Content-Type": "application/json"}
        assert post("/hooks/hub/s3cret", hub, json_type) == 202
        assert post("/hooks/hub/wr0ng-s3cret", hub, json_type) == 404
    assert "s3cret" not in log.read_text()
