import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.harness.ledger import D1, D2, REFERENCE
from tests.support.harness.redis_server import RedisServer
from tests.support.harness.web_app import FQRN, OPERATOR, TOKEN, Site, site_on
from tests.support.tools.browser import browser, complaints, seen, serving, wait_for
from webhook.dashboard import words
from workers.ledger import Outcome, Progress, State

PAGE = f"/images/{REFERENCE}"
LONG = (
    "registry.example.org/a-group/with/many/levels/and-a-very-long-name-that-goes-on"
    "-and-on-and-on/image:v1.2.3-nightly-of-a-day-that-was-long-and-had-many-pushes"
)
REASON = "layer 3 of 7 ends in the middle of 'usr/lib/libLLVM.so'; build it again"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def site(server: RedisServer, tmp_path: Path) -> Iterator[Site]:
    with site_on(server, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def address(site: Site, chrome: Chrome) -> Iterator[str]:
    with serving(site.app) as found:
        yield found
        chrome.get("about:blank")
    chrome.delete_all_cookies()


def fail(site: Site, reference: str, reason: str = REASON) -> None:
    site.bench.push(D1, reference)
    lease = site.bench.begin(reference=reference)
    site.bench.ledger.finish(lease, Outcome.FAILED, reason=reason)


# What the author of an image reads.


def test_before_the_first_push_the_page_says_what_to_do(site: Site) -> None:
    page = site.client.get("/").text
    assert "No image yet" in page
    assert "docker push" in page
    assert "At work" not in page


def test_a_live_image_says_yes_and_where_it_is(site: Site) -> None:
    site.bench.make_live(D1)
    page = site.client.get(PAGE).text
    assert "Yes. What the registry has is live." in page
    path = f"/cvmfs/{FQRN}/{REFERENCE}"
    assert f"apptainer exec {path} bash" in page
    assert D1 in page
    assert "in 2 min at the latest" in page.replace("</time>", "")
    site.bench.clock.passes(121)
    assert "Nodes see it by now" in site.client.get(PAGE).text


def test_an_image_in_other_formats_is_found_there_too(site: Site) -> None:
    site.bench.push(D1)
    places = {
        "image": "/.images/11/11.sqfs",
        "podman": REFERENCE,
        "thin": "thin.example/atlas/analysis:v1",
        "layers": "/.layers",
    }
    site.bench.ledger.finish(
        site.bench.begin(),
        Outcome.PUBLISHED,
        digest=D1,
        revision=1,
        repository=FQRN,
        places=places,
    )
    page = site.client.get(PAGE).text
    assert f"/cvmfs/{FQRN}/.images/11/11.sqfs" in page
    assert f"podman run {REFERENCE}" in page
    assert "docker run thin.example/atlas/analysis:v1" in page
    assert "Nowhere yet" not in page
    assert "containerd" not in page  # there are simpler ways
    said = json.loads(site.client.get(f"/api/v1{PAGE}").text)
    assert said["path"] is None
    assert said["places"]["image"] == f"/cvmfs/{FQRN}/.images/11/11.sqfs"
    assert said["places"]["podman"] == REFERENCE


def test_an_image_of_layers_alone_is_not_nowhere(site: Site) -> None:
    site.bench.push(D1)
    site.bench.ledger.finish(
        site.bench.begin(),
        Outcome.PUBLISHED,
        digest=D1,
        revision=1,
        repository=FQRN,
        places={"layers": "/.layers"},
    )
    page = site.client.get(PAGE).text
    assert "containerd" in page
    assert f"/cvmfs/{FQRN}/.layers" in page


def test_a_refused_image_says_no_and_why(site: Site) -> None:
    name = "docker.io/unknownuser/miner:latest"
    site.bench.refuse(name, "not a namespace of the experiment")
    page = site.client.get(f"/images/{name}").text
    assert "No. It was refused." in page
    assert "not a namespace of the experiment" in page
    assert "rule 2" in page
    assert "Look at the registry" not in site.client.get(page, headers=OPERATOR).text


def test_a_failed_image_says_no_and_why_and_what_is_live_meanwhile(site: Site) -> None:
    site.bench.make_live(D1)
    site.bench.push(D2)
    lease = site.bench.begin()
    site.bench.ledger.stage(lease, State.FETCHING, digest=D2)
    site.bench.ledger.finish(lease, Outcome.FAILED, reason="layer 3 is cut short")
    page = site.client.get(PAGE).text
    assert "No. It could not be published." in page
    assert "layer 3 is cut short" in page
    assert "stays live meanwhile" in page
    assert D1 in page
    assert D2 in page


def test_a_failure_that_may_pass_says_when_it_is_tried_again(site: Site) -> None:
    site.bench.push(D1)
    site.bench.ledger.finish(
        site.bench.begin(),
        Outcome.FAILED,
        reason="the registry answers 503",
        next_try=site.bench.clock() + 90,
    )
    page = site.client.get(PAGE).text
    assert "Not yet. The last try failed." in page
    assert "by ourselves" in page
    assert "in 1 min" in page


@pytest.mark.parametrize("state", words.RUNNING)
def test_a_running_image_says_its_stage_and_how_far_it_is(
    site: Site, state: State
) -> None:
    site.bench.push(D1)
    progress = Progress(2, 7, 500_000_000, 1_000_000_000)
    site.bench.ledger.stage(site.bench.begin(), state, progress=progress)
    for page in (site.client.get(PAGE).text, site.client.get("/").text):
        assert words.STATES[state].word in page
        assert "2 of 7 layers, 500 MB of 1.0 GB" in page
        assert '<progress value="50"' in page


def test_an_image_that_nobody_pushed_says_what_the_policy_would_do(site: Site) -> None:
    answer = site.client.get("/images/registry.example.org/never/pushed:v1")
    assert answer.status_code == 404
    assert "The policy allows it" in answer.text
    answer = site.client.get("/images/quay.io/never/pushed:v1")
    assert "The policy would refuse it: no rule allows" in answer.text


def test_a_name_leads_to_the_page_under_its_full_name(site: Site) -> None:
    answer = site.client.get("/images/alpine")
    assert answer.location == "/images/docker.io/library/alpine:latest"


@pytest.mark.parametrize("name", ["UPPER", "a:b:c", "x@sha256:1", "<script>", "a%0ab"])
def test_what_is_no_name_has_no_page(site: Site, name: str) -> None:
    answer = site.client.get(f"/images/docker.io/{name}")
    assert answer.status_code in {400, 404}
    assert "<script>" not in answer.text


def test_the_history_tells_each_run(site: Site) -> None:
    site.bench.push(D1)
    lease = site.bench.begin()
    site.bench.clock.passes(2)
    site.bench.ledger.stage(lease, State.FETCHING, digest=D1)
    site.bench.clock.passes(30)
    site.bench.publish(lease)
    fail(site, REFERENCE)
    page = site.client.get(PAGE).text
    history = page[page.index("history-heading") :]
    assert history.index("Failed") < history.index("Published")
    assert "looking up 2.0 s" in history
    assert "downloading 30 s" in history
    assert "32 s" in history
    assert "hub" in history


def test_the_list_counts_states_and_can_be_narrowed(site: Site) -> None:
    site.bench.make_live(D1, "registry.example.org/a/live:v1")
    fail(site, "registry.example.org/a/broken:v1")
    client = site.client
    page = client.get("/?state=failed").text
    assert "broken" in page
    assert "/a/live" not in page
    found = client.get("/?q=a/live").text
    assert "live" in found
    assert "broken" not in found
    nothing = client.get("/?q=registry.example.org/a/other:v1").text
    assert "No image matches" in nothing
    assert "/images/registry.example.org/a/other:v1" in nothing


def test_a_long_list_is_paged(site: Site) -> None:
    for number in range(120):
        site.bench.refuse(f"quay.io/a/b:{number}")
        site.bench.clock.passes(1)
    client = site.client
    first = client.get("/").text
    assert "page 1 of 3" in first
    assert ":119<" in first
    assert ":0<" in client.get("/?page=3").text
    assert client.get("/?page=99").status_code == 200
    for nonsense in ("0", "-1", "x", "²", "9" * 30):
        assert "page 1 of 3" in client.get(f"/?page={nonsense}").text


def test_what_waits_longest_is_named_first(site: Site) -> None:
    for number in range(12):
        site.bench.push(D1, f"registry.example.org/a/b:{number}")
        site.bench.clock.passes(60)
    page = site.client.get("/").text
    work = page[page.index("At work now") : page.index('data-part="images"')]
    assert "for <time" in work
    assert "12 min" in work
    assert work.index('b</span><wbr><span class="tag">:0<') < work.index(":1<")
    assert "4 more" in work


def test_all_that_comes_from_outside_is_escaped(site: Site) -> None:
    hostile = "<script>alert(1)</script>"
    fail(site, REFERENCE, hostile)
    site.problems.append(hostile)
    client = site.client
    for path in ("/", PAGE, f"/?q={quote(hostile)}", f"/login?next=/{quote(hostile)}"):
        page = client.get(path).text
        assert hostile not in page
        assert page.count("<script") == 1, path


# Who may see what.


def test_anybody_sees_images_and_only_the_operator_deliveries(site: Site) -> None:
    site.bench.push(D1)
    client = site.client
    for path in ("/", PAGE):
        page = client.get(path).text
        assert "192.0.2.1" not in page
        assert "Deliveries" not in page
    assert client.get("/deliveries").status_code == 302
    page = client.get("/deliveries", headers=OPERATOR).text
    assert "192.0.2.1" in page
    assert "rule 1 allows it" in page


def test_what_is_wrong_is_told_to_all_and_the_details_to_the_operator(
    site: Site,
) -> None:
    site.client.get("/")
    site.problems.append("Redis may forget what it accepts")
    site.policy_path.write_text("version: 1\nrules: [{permit: some/name}]\n")
    page = site.client.get("/").text
    assert "Redis may forget" in page
    assert "policy file is broken, so the last good one is in force" in page
    assert "permit" not in page
    assert "permit" in site.client.get("/", headers=OPERATOR).text


def test_only_the_operators_own_form_asks_the_registry_again(site: Site) -> None:
    site.bench.make_live(D1)
    client = site.client
    assert client.post(PAGE).status_code == 401
    login = client.get("/login").text
    form = {"csrf_token": proof_in(login), "token": TOKEN}
    client.post("/login", data=form)
    assert client.post(PAGE).status_code == 403
    assert site.queue.depth() == 0
    form = {"csrf_token": proof_in(client.get(PAGE).text)}
    answer = client.post(PAGE, data=form)
    assert (answer.status_code, answer.location) == (303, PAGE)
    assert site.queue.depth() == 1


def proof_in(page: str) -> str:
    return page.partition('name="csrf_token" value="')[2].partition('"')[0]


def test_pages_are_never_kept_and_their_files_for_long(site: Site) -> None:
    client = site.client
    page = client.get("/")
    assert page.headers["Cache-Control"] == "no-store"
    style = page.text.partition('stylesheet" href="')[2].partition('"')[0]
    with client.get(style) as answer:
        assert "immutable" in answer.headers["Cache-Control"]


def test_without_redis_a_page_says_so(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as server,
        site_on(server, tmp_path) as site,
    ):
        server.kill()
        answer = site.client.get("/")
        assert answer.status_code == 503
        assert "does not answer" in answer.text
        assert "127.0.0.1" not in answer.text


# In a browser, as a person.


def test_an_open_page_follows_an_image_until_it_is_live(
    site: Site, chrome: Chrome, address: str
) -> None:
    site.bench.push(D1)
    lease = site.bench.begin()
    chrome.get(f"{address}{PAGE}")
    assert "Looking up" in seen(chrome)
    progress = Progress(1, 2, 30, 100)
    site.bench.ledger.stage(lease, State.FETCHING, digest=D1, progress=progress)
    wait_for(chrome, "1 of 2 layers")
    bar = chrome.find_element(By.TAG_NAME, "progress")
    assert bar.get_attribute("value") == "30"
    site.bench.publish(lease)
    wait_for(chrome, "Yes. What the registry has is live.")
    assert "Live" in chrome.title
    assert "Published" in seen(chrome)
    assert not complaints(chrome)


def test_an_open_list_shows_a_push_by_itself(
    site: Site, chrome: Chrome, address: str
) -> None:
    fail(site, "registry.example.org/a/first:v1")
    site.bench.push(D1, "registry.example.org/a/second:v1")
    lease = site.bench.begin(reference="registry.example.org/a/second:v1")
    site.bench.ledger.stage(lease, State.FETCHING)
    chrome.get(address)
    assert "a/first" in seen(chrome)
    site.bench.push(D1, "registry.example.org/a/third:v1")
    wait_for(chrome, "a/third")
    wait_for(chrome, "Up to date by itself", "footer")
    assert not complaints(chrome)


def test_the_keyboard_stays_where_it_is_when_the_page_changes(
    site: Site, chrome: Chrome, address: str
) -> None:
    site.bench.push(D1)
    lease = site.bench.begin()
    chrome.get(address)
    link = f'.work a[href="{PAGE}"]'
    chrome.execute_script("document.querySelector(arguments[0]).focus()", link)
    progress = Progress(1, 2, 30, 100)
    site.bench.ledger.stage(lease, State.FETCHING, progress=progress)
    wait_for(chrome, "1 of 2 layers")
    assert chrome.switch_to.active_element.get_attribute("href") == f"{address}{PAGE}"


def test_a_page_works_without_javascript(
    site: Site, address: str, tmp_path: Path
) -> None:
    site.bench.make_live(D1)
    with browser(tmp_path / "profile", javascript=False) as plain:
        plain.get(address)
        plain.find_element(By.ID, "q").send_keys("analysis" + Keys.ENTER)
        wait_for(plain, "1 image matches")
        plain.find_element(By.CSS_SELECTOR, ".images a").click()
        wait_for(plain, "Yes. What the registry has is live.")
        assert "Copy" not in seen(plain)
        assert "Reload the page" in seen(plain, "footer")
        plain.get(f"{address}/login?next={PAGE}")
        plain.find_element(By.ID, "token").send_keys(TOKEN + Keys.ENTER)
        wait_for(plain, "Look at the registry again")
        assert plain.current_url == f"{address}{PAGE}"
        plain.find_element(By.CSS_SELECTOR, ".answer button").click()
        wait_for(plain, "It waits for a free worker.")
        assert site.queue.depth() == 1
        plain.find_element(By.CSS_SELECTOR, "header button").click()
        wait_for(plain, "Log in", "header")


def test_the_operator_logs_in_and_is_told_of_a_wrong_token(
    chrome: Chrome, address: str
) -> None:
    chrome.get(f"{address}/deliveries")
    field = chrome.find_element(By.ID, "token")
    assert chrome.switch_to.active_element == field
    field.send_keys("wrong" + Keys.ENTER)
    wait_for(chrome, "not the operator's token")
    chrome.find_element(By.ID, "token").send_keys(TOKEN + Keys.ENTER)
    wait_for(chrome, "Deliveries")
    assert chrome.current_url == f"{address}/deliveries"
    # Scripts of the page cannot read the session.
    assert chrome.execute_script("return document.cookie") == ""


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_no_page_is_wider_than_its_window(
    site: Site, chrome: Chrome, address: str, width: int
) -> None:
    site.bench.push(D1, LONG)
    fail(site, "registry.example.org/a/broken:v1", "x" * 500 + " " + REASON)
    site.bench.make_live(D1, LONG.replace("/image:", "/live:"))
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for path in ("/", f"/images/{LONG}", "/login", "/images/quay.io/a/never:v1"):
            chrome.get(f"{address}{path}")
            wide = chrome.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, path
        chrome.get(f"{address}/images/{LONG.replace('/image:', '/live:')}")
        wide = chrome.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_whoever_cannot_see_the_page_finds_a_name_for_everything(
    site: Site, chrome: Chrome, address: str
) -> None:
    site.bench.push(D1)
    lease = site.bench.begin()
    site.bench.ledger.stage(lease, State.FETCHING, progress=Progress(1, 2, 3, 4))
    fail(site, "registry.example.org/a/broken:v1")
    for path in ("/", PAGE, "/login", "/images/quay.io/a/never:v1"):
        chrome.get(f"{address}{path}")
        nodes = chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles = {"link", "button", "textbox", "searchbox", "progressbar", "image"}
        for node in nodes:
            if node.get("role", {}).get("value") in roles and not node["ignored"]:
                assert node["name"]["value"], (path, node)
        assert len(chrome.find_elements(By.TAG_NAME, "h1")) == 1
        assert chrome.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"


def test_the_command_to_run_it_is_copied_at_a_click(
    site: Site, chrome: Chrome, address: str
) -> None:
    site.bench.make_live(D1)
    chrome.get(f"{address}{PAGE}")
    chrome.find_element(By.CSS_SELECTOR, "[data-copy=exec]").click()
    wait_for(chrome, "Copied", "[data-copy=exec]")
    chrome.get(address)
    field = chrome.find_element(By.ID, "q")
    field.send_keys(Keys.CONTROL, "v")
    pasted = field.get_attribute("value")
    assert pasted == f"apptainer exec /cvmfs/{FQRN}/{REFERENCE} bash"


# Words.


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (86_400, "1 day"),
        (200_000, "2 days"),
        (-5, "0 s"),
    ],
)
def test_a_length_of_time_is_said_in_its_largest_unit(
    seconds: float, said: str
) -> None:
    assert words.duration(seconds) == said


def test_the_browser_says_the_same_words_as_the_server(
    chrome: Chrome, address: str
) -> None:
    chrome.get(address)
    moments = [-200_000, -86_400, -7200, -61, -60, -59, -5, -4, 0, 1, 2, 59, 61, 7201]
    for moment in moments:
        script = "return relative(arguments[0], 0)"
        assert chrome.execute_script(script, moment) == words.relative(moment, 0)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (412_345_678, "412 MB"),
        (1_450_000_000, "1.4 GB"),
        (20 * 10**12, "20.0 TB"),
    ],
)
def test_a_size_is_said_in_its_largest_unit(number: int, said: str) -> None:
    assert words.size(number) == said


def test_every_state_and_outcome_has_a_word_and_a_picture(site: Site) -> None:
    assert set(words.STATES) == set(State)
    assert set(words.OUTCOMES) == {*Outcome, None}
    pictures = site.app.jinja_env.get_template("dashboard/icons.html").module
    for each in (*words.STATES.values(), *words.OUTCOMES.values(), words.RETRYING):
        assert "<svg" in pictures.icon(each.icon)  # type: ignore[attr-defined]
