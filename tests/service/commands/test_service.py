"""`up` and `serve`, as an operator starts them."""

import subprocess
import sys
from pathlib import Path


def test_up_with_a_wrong_configuration_says_all_that_is_wrong(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "listen: nowhere\n"
        "queue: {url: http://127.0.0.1/}\n"
        "sources: {hub: {kind: dockerhub}, lab: {kind: gitlab, secret: x}}\n"
        "repositories: {Bad_Name: {storage: ftp://x}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "webhook.cli", "up", "--config", config],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for key in ("listen", "queue.url", "sources.hub", "sources.lab", "repositories"):
        assert f"error: {key}" in done.stderr
