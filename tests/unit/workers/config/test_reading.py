"""What a configuration may say, and how all that is wrong with it is told at once."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.support.harness.configuration import load, problems
from workers.config import (
    AutoTagsConfig,
    CollectConfig,
    Config,
    ConfigError,
    S3Config,
    Secret,
    allowed_hosts,
    load_config,
)
from workers.config.sections import ProxyConfig
from workers.config.values import storage_bucket, storage_folder


def source(extra: str, kind: str = "distribution", registry: str = "r.example") -> str:
    return f"sources: {{a: {{kind: {kind}, registry: {registry}, {extra}}}}}"


def bucket(s3: str, storage: str = "s3://bucket/prefix") -> str:
    return f"repositories: {{a.b: {{storage: {storage!r}, s3: {{{s3}}}}}}}"


def test_a_bucket_has_its_credentials_from_files_or_the_environment(
    tmp_path: Path,
) -> None:
    (tmp_path / "key").write_text("secret\n")
    text = bucket(
        "endpoint: http://s3.example.org:9000/, region: eu, path_style: false, "
        "access_key: '${ID}', secret_key_file: key",
        "s3://bucket/some/prefix/",
    )
    repository = load(tmp_path, text, ID="id").repositories["a.b"]
    assert storage_bucket(repository.storage) == ("bucket", "some/prefix")
    assert repository.s3 == S3Config(
        endpoint="http://s3.example.org:9000",
        region="eu",
        access_key=Secret("id"),
        secret_key=Secret("secret"),
        path_style=False,
    )
    assert "secret" not in repr(repository).replace("secret_key", "")
    text = "repositories: {a.b: {storage: s3://bucket}}"
    repository = load(tmp_path, text).repositories["a.b"]
    assert storage_bucket(repository.storage) == ("bucket", "")
    assert repository.s3 == S3Config()


def test_the_example_of_the_contract_is_read(contract: Config, tmp_path: Path) -> None:
    assert contract.listen == "0.0.0.0:8080"
    assert contract.public_url == "https://cvmfs-webhook.example.org"
    assert contract.queue.url == Secret("redis://127.0.0.1:6379/0")
    assert contract.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert contract.queue.durability == "strict"
    assert contract.sources["hub"].secrets == (Secret("from-the-environment"),)
    assert contract.sources["hub"].registry == "docker.io"
    assert contract.sources["gitlab"].secrets == (Secret("from-a-file"),)
    assert contract.sources["local"].registry == "127.0.0.1:5000"
    assert contract.registries["127.0.0.1:5000"].plain_http
    hub = contract.registries["docker.io"]
    assert (hub.username, hub.password) == ("robot", Secret("hub-password"))
    repository = contract.repositories["unpacked.example.org"]
    assert storage_folder(repository.storage) == Path("/srv/cvmfs/unpacked.example.org")
    assert (repository.keys, repository.ttl) == (Path("/etc/cvmfs/keys"), 60)
    assert contract.policy == tmp_path / "policy.yaml"


def test_named_hosts_may_be_private(contract: Config) -> None:
    assert allowed_hosts(contract) == {
        "docker.io",
        "gitlab-registry.cern.ch",
        "127.0.0.1:5000",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (source("secret: ''"), "sources.a.secret: is too short"),
        (source("secret: abcde"), "sources.a.secret: is too short"),
        (source("enabled: true"), "sources.a.secret: is missing: without it anyone"),
        (source("secret: [abcdef, abc]"), "sources.a.secret.1: is too short"),
        (source("secret: []"), "sources.a.secret: must be text, or a list of two"),
        (source("secret: 1234567"), "sources.a.secret: must be text, or a list of two"),
        (source('secret: "abc\\ndef"'), "sources.a.secret: must have no control"),
        (source('secret: " abcdef"'), "sources.a.secret: must have no control"),
        (source('secret: "${"'), "sources.a.secret: '${' must be followed by"),
        (source('secret: "${9}abcdef"'), "sources.a.secret: '${' must be followed by"),
        (source("secret: abcdef, secret_file: x"), "sources.a.secret: stands beside"),
        (source("secret_file: absent"), "sources.a.secret_file: cannot read"),
        (source("secret_file: ."), "sources.a.secret_file: cannot read"),
        (source("secret_file: binary"), "is not UTF-8 text"),
        (source("secret_file: huge"), "is larger than 65536 bytes"),
        (source("secret_file: short"), "sources.a.secret_file: is too short"),
        (source("secret_file: [short]"), "sources.a.secret_file.0: is too short"),
        (source("secret: abc/def", "dockerhub", "docker.io"), "is part of the URL"),
        (source("secret: abcdef", "dockerhub"), "must be docker.io, or left out"),
        (source("secret: abcdef", registry="a b"), "registry 'a b' is not valid"),
        (
            source("secret: abcdef", registry="5000"),
            "must be text, in quotes, not 5000",
        ),
        (source("secret: abcdef", "gitlabs"), "not 'gitlabs': did you mean 'gitlab'?"),
        ("sources: [a]", "sources: must be keys with values, not a list"),
        (
            "sources: {a: }",
            "must be kind, secret and registry of a sender, not nothing",
        ),
        ("- a\n", "configuration: must be keys with values, not a list"),
        ("public_url: ftp://x", "public_url: must be a URL such as"),
        ("public_url: https://u:p@x", "public_url: must be a URL such as"),
        ("public_url: https://x:99999", "public_url: must be a URL such as"),
        ("public_url: https://", "public_url: must be a URL such as"),
        ("listen: 127.0.0.1:65536", "listen: must be host:port"),
        ("listen: ':8080'", "listen: must be host:port"),
        ("trusted_proxies: 10.0.0.0/8", "trusted_proxies: must be a list of networks"),
        ("trusted_proxies: [a.b]", "trusted_proxies.0: must be a network such as"),
        (
            "trusted_proxies: ['::1', 10.0.0.0/33]",
            "trusted_proxies.1: must be a network",
        ),
        ("trusted_proxies: [10.0.0.1/8]", "write 10.0.0.0/8, not '10.0.0.1/8'"),
        ("trusted_proxies: ['::ffff:10.0.0.0/104']", "is of IPv4: write it so"),
        ("keep_alive_seconds: 0", "keep_alive_seconds: must be at least 1, not 0"),
        ("trusted_proxies: [10]", "trusted_proxies.0: must be text"),
        ("queue: {url: http://x}", "queue.url: must begin with redis://"),
        ("queue: {url: 'unix://run/redis'}", "queue.url: must be unix:///path"),
        ("queue: {url: 'unix://:secret@/'}", "queue.url: must be unix:///path"),
        ("queue: {url: 'unix:///run/redis?db=one'}", "queue.url: must give db as"),
        *(
            (f"queue: {{url: '{url}'}}", "queue.url: cannot be read: write /")
            for url in (
                *("redis://:a/b@h:1/0", "redis://h:99999"),
                *("unix:///run/a#b/redis", "unix:///run/%00"),
            )
        ),
        ("queue: {url: 'redis://h/one'}", "queue.url: must give db as"),
        ("queue: {url: 'redis://h?decode_responses=1'}", "queue.url: must have no"),
        ("queue: {durability: maybe}", "queue.durability: must be one of strict"),
        ("limits: {body_bytes: 1}", "limits.body_bytes: must be at least 1024, not 1"),
        ("workers: 65", "workers: must be at most 64, not 65"),
        ("policy: ''", "policy: must not be empty"),
        ("registries: {a.b: {ca_file: absent}}", "registries.a.b.ca_file: there is no"),
        ("registries: {a.b: {password: x}}", "registries.a.b.username: is missing"),
        ("registries: {a b: {}}", "registries.a b: registry 'a b' is not valid"),
        (
            "registries: {docker.io: {}, index.docker.io: {}}",
            "registries.docker.io: is configured twice",
        ),
        (
            "registries: {a.b: {token_hosts: [c d]}}",
            "registries.a.b.token_hosts.0: registry 'c d' is not valid",
        ),
        (
            "registries: {a.b: {username: u, password: ''}}",
            "registries.a.b.password: must not be empty",
        ),
        ("repositories: {a.b: {}}", "repositories.a.b.storage: is missing"),
        ("repositories: {a.b: {storage: /srv}}", "must be file:///folder or"),
        (
            "repositories: {a.b: {storage: file:///srv/../x}}",
            "must be file:///folder or",
        ),
        (bucket("x: y"), "repositories.a.b.s3.x: unknown key"),
        (bucket("endpoint: s3.example.org"), "s3.endpoint: must be a URL"),
        (bucket("access_key: id"), "s3.secret_key: is missing beside the access key"),
        (bucket("secret_key: s"), "s3.access_key: is missing beside the secret key"),
        (
            bucket("", "s3://Bucket/p"),
            "must be s3://bucket/prefix, not 's3://Bucket/p'",
        ),
        (bucket("", "s3://bucket/a b"), "must be s3://bucket/prefix"),
        (bucket("", "s3://bucket/../p"), "must be s3://bucket/prefix"),
        (bucket("", "file:///srv"), "s3: belongs to a storage s3://bucket/prefix only"),
        ("repositories: {a: {storage: file:///srv}}", "the name must be a repository"),
    ],
)
def test_a_wrong_value_is_named_with_its_mend(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd\xfc\xfb\xfa")
    (tmp_path / "huge").write_bytes(b"x" * 65_537)
    (tmp_path / "short").write_text("abc\n")
    (problem,) = problems(tmp_path, text)
    assert told in problem


def test_a_secret_may_be_a_list_of_two_for_rotation(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old-secret")
    (tmp_path / "new").write_text("new-secret\r\n")
    two = (Secret("old-secret"), Secret("new-secret"))
    text = source('secret: ["${OLD}", new-secret]')
    assert load(tmp_path, text, OLD="old-secret").sources["a"].secrets == two
    text = source("secret_file: [old, new]")
    assert load(tmp_path, text).sources["a"].secrets == two
    text = "operator: {token_file: [old, new]}"
    assert load(tmp_path, text).operator.tokens == two


def test_a_registry_is_known_by_its_canonical_name(tmp_path: Path) -> None:
    config = load(tmp_path, "registries: {Index.Docker.IO: {token_hosts: [Auth.X]}}")
    assert config.registries["docker.io"].token_hosts == ("auth.x",)


def test_names_are_absolute_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(
        "state: .\nrepositories: {a.b: {storage: file:///srv, keys: keys}}"
    )
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("config.yaml"), {})
    assert config.path == tmp_path / "config.yaml"
    assert config.state == tmp_path
    assert config.repositories["a.b"].keys == tmp_path / "keys"


def test_a_certificate_file_is_looked_for_beside_the_configuration(
    tmp_path: Path,
) -> None:
    (tmp_path / "ca.pem").write_text("")
    config = load(tmp_path, "registries: {a.b: {ca_file: ca.pem}}")
    assert config.registries["a.b"].ca_file == tmp_path / "ca.pem"


def test_a_disabled_source_is_still_checked_and_kept(tmp_path: Path) -> None:
    config = load(tmp_path, source("secret: abcdef, enabled: false"))
    assert not config.sources["a"].enabled


def test_tags_by_themselves_are_off_until_asked_for(tmp_path: Path) -> None:
    def auto_tags(text: str) -> AutoTagsConfig | None:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"repositories:\n  unpacked.example.org:\n    storage: file:///srv\n{text}"
        )
        return load_config(path, {}).repositories["unpacked.example.org"].auto_tags

    assert auto_tags("") is None
    assert auto_tags("    auto_tags: {}\n") == AutoTagsConfig(30 * 86400, 3600, 1000)
    given = auto_tags("    auto_tags: {keep_for: 2w, every: 0s, most: 7}\n")
    assert given == AutoTagsConfig(14 * 86400, 0, 7)
    with pytest.raises(ConfigError, match=r"auto_tags\.keep_for.*is no time"):
        auto_tags("    auto_tags: {keep_for: soon}\n")


def test_garbage_is_collected_by_itself_only_where_it_says_how_often(
    tmp_path: Path,
) -> None:
    def collect(text: str) -> CollectConfig | None:
        path = tmp_path / "config.yaml"
        repository = '{storage: "file:///srv", ' + text + "}"
        path.write_text(f"repositories: {{unpacked.example.org: {repository}}}\n")
        return load_config(path, {}).repositories["unpacked.example.org"].collect

    assert collect("ttl: 60") is None
    month, days = 30 * 86400, 3 * 86400
    assert collect("collect: {every: 1d}") == CollectConfig(86400, month, days)
    given = collect("collect: {every: 1h, restorable_for: 1w, keep_for: 0s}")
    assert given == CollectConfig(3600, 7 * 86400, 0)
    for text, wrong in (
        ("{every: 59m}", "at least 1h"),
        ("{keep_for: 1d}", "every"),
        ("{every: daily}", "is no time"),
    ):
        with pytest.raises(ConfigError, match=wrong):
            collect(f"collect: {text}")


def test_proxies_come_from_the_environment_or_from_their_registry(
    tmp_path: Path,
) -> None:
    config = load(
        tmp_path,
        "registries: {a.example: {proxy: 'http://u:p@a:1'}, b.example: {proxy: none}}",
        HTTPS_PROXY="upper:3128",
        https_proxy="http://lower:3128",
        HTTP_PROXY="",
        NO_PROXY="c.example",
    )
    assert config.registries["a.example"].proxy == Secret("http://u:p@a:1")
    assert config.registries["b.example"].proxy == Secret("")
    assert config.proxies == ProxyConfig(Secret("http://lower:3128"), None, "c.example")
    assert load(tmp_path, "{}").proxies == ProxyConfig()


@pytest.mark.parametrize("text", ["socks5://hunter2", "https://hunter2", "http://a b"])
def test_what_is_no_http_proxy_is_refused(tmp_path: Path, text: str) -> None:
    (said,) = problems(tmp_path, "{}", HTTPS_PROXY=text)
    assert said.startswith("HTTPS_PROXY: must be http://")
    assert "hunter2" not in said
