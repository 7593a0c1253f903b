"""Images are copied as skopeo does it."""

import subprocess

from tests.support.tools.programs import require_program

_PUSH_SECONDS = 300.0


def skopeo_copy(source: str, destination: str, *options: str) -> None:
    """Copy an image as ``skopeo copy`` does, with plain HTTP allowed at both ends.

    Args:
        source: ``docker://host:port/name:tag``, ``oci:folder:tag``, ``dir:folder`` …
        destination: likewise.
        options: further ones, ``--all``, ``--format=v2s2`` …
    """
    command = [require_program("skopeo"), "--insecure-policy", "copy", "--quiet"]
    command += ["--src-tls-verify=false", "--dest-tls-verify=false", *options]
    done = subprocess.run(
        [*command, source, destination],
        check=False,
        capture_output=True,
        text=True,
        timeout=_PUSH_SECONDS,
    )
    assert done.returncode == 0, f"skopeo copy {source} {destination}: {done.stderr}"
