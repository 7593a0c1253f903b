"""Every route of the application, with something in each of its gaps."""

from collections.abc import Iterator

from flask import Flask

from tests.support.harness.web_app import FQRN

REFERENCE = "registry.example.org/a/b:c"
_VALUES = {
    "<fqrn>": FQRN,
    "<path:name>": ".cvmfspublished",
    "<path:filename>": "style.css",
    "<path:rest>": "anything",
    "<int:instance_number>": "0",
    "<queue_name>": "cvmfs-webhook",
    "<registry_name>": "queued",
    "<int:per_page>": "8",
    "<per_page>": "8",
    "<order>": "asc",
    "<int:page>": "1",
    "<page>": "1",
    "<job_id>": "x",
}


def paths(app: Flask, reference: str = REFERENCE) -> set[tuple[str, str]]:
    """Return method and path of every route that does not answer by itself.

    Args:
        app: whose.
        reference: for the routes that are about an image.
    """
    return set(_paths(app, {**_VALUES, "<path:reference>": reference}))


def _paths(app: Flask, values: dict[str, str]) -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for gap, value in values.items():
            path = path.replace(gap, value)
        assert "<" not in path, f"say in _VALUES what fills {rule.rule}"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, path
