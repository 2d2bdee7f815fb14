"""Who is let in, what they are shown, and that nobody else makes their browser do something."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from selenium.webdriver import Keys
from support.browser import Browser
from support.certificates import Authority
from support.dashboard import FORMS, PAGES, STREAMS, WEB, Visitor, dashboard_of
from support.eventually import until
from support.ports import free_port
from support.redis_backend import RedisBackend
from support.servers import Server
from support.stores import store_settings
from tocsin import Client, RetryPolicy
from tocsin_server.security.principals import Scope
from tocsin_server.security.principals_file import create_token, revoke_token

CANARY = "canary-7f3a"
ALL = tuple(Scope)


class Shop:
    """Servers on one store, with one file of principals."""

    def __init__(self, folder: Path, redis: RedisBackend) -> None:
        self.folder, self.redis, self.file = folder, redis, folder / "principals.toml"
        self.servers: list[Server] = []
        self.root, _ = self.create("root", *ALL)

    def create(self, name: str, *scopes: Scope, queues: tuple[str, ...] | None = None) -> tuple[str, str]:
        """A token in clear, and its id."""
        secret, token = create_token(self.file, name, scopes, None, queues)
        return secret, token.id

    def serve(self, *flags: str, **env: str) -> Server:
        """One more server."""
        chosen = {**store_settings(self.redis.url), "TOCSIN_AUTH__PRINCIPALS_FILE": str(self.file), **WEB, **env}
        chosen["TOCSIN_MAIL__TRANSPORT"] = f"file:{self.folder / 'outbox'}"
        chosen["TOCSIN_MAIL__SENDER"] = "shop@example.com"
        server = Server(
            self.folder, ["--handlers", "support.jobs.everyday", "--handlers", "support.jobs.saying", *flags], chosen
        )
        self.servers.append(server)
        return server.start()

    def fill(self, server: Server) -> None:
        """Something on each page, with the canary wherever only `read_payload` shows it."""
        with Client(server.address, token=self.root, tls=False) as client:
            told = {"told": CANARY, "failures": 9}
            client.wait(
                client.schedule(
                    "fails_at_first", told, queue="mail", job_id="dead-1", retry=RetryPolicy(max_attempts=1)
                )
            )
            client.wait(client.schedule("echo", told, queue="mail", job_id="done-1"))
            # Words of errors and lines of log hold what payloads hold.
            client.wait(
                client.schedule(
                    "says", {"text": CANARY}, queue="mail", job_id="said-1", retry=RetryPolicy(max_attempts=1)
                )
            )
            client.schedule("echo", told, queue="mail", job_id="later-1", delay=3600)
            client.schedules.create("pay-day", queue="mail", every=86400, type="echo", payload=told)
            when = datetime.now(UTC) + timedelta(days=3)
            client.schedule_booking_reminders("B42", when, queue="mail", email_to=["ada@example.com"], title=CANARY)
            client.schedule("echo", told, queue="secret", job_id="other-1", delay=3600)


@pytest.fixture
def shop(tmp_path: Path, redis: RedisBackend) -> Iterator[Shop]:
    made = Shop(tmp_path, redis)
    yield made
    for server in made.servers:
        server.kill()


def test_without_a_login_nothing_is_shown_and_nothing_done(shop: Shop) -> None:
    server = shop.serve()
    shop.fill(server)
    with Visitor(dashboard_of(server)) as nobody:
        for page in PAGES:
            answer = nobody.get(page)
            assert (answer.status_code, answer.headers["location"]) == (303, "/login"), page
        for page in STREAMS:
            with nobody.stream(page) as events:
                assert list(events) == [("login", "")]
        for form in FORMS:
            assert nobody.send(form, queue="mail", id="later-1").headers["location"] == "/login"
        wrong = nobody.login("tcs_wrong")
        assert wrong.status_code == 401
        assert "not known, or was revoked" in wrong.text
        assert nobody.login("").status_code == 400
        assert nobody.login("x" * 10_000).status_code == 400
        assert nobody.get("/").status_code == 303


def test_a_login_holds_the_token_where_no_script_and_no_reader_of_cookies_finds_it(shop: Shop) -> None:
    server = shop.serve()
    shop.fill(server)
    with Visitor(dashboard_of(server)) as root:
        answer = root.login(shop.root)
        assert answer.status_code == 303
        [cookie] = [one for one in answer.headers.get_list("set-cookie") if one.startswith("tocsin_session=")]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Secure" not in cookie  # it is not spoken here
        assert shop.root not in cookie
        for page in PAGES:
            assert "root" in root.text(page)
        assert CANARY in root.text("/job?queue=mail&id=done-1")
        said = root.text("/job?queue=mail&id=said-1")
        for words in ("error", "line"):
            assert f"{CANARY} {words}" in said
        for page in ("/jobs?queue=mail", "/failed?queue=mail", "/"):
            assert f"{CANARY} error" in root.text(page), page
        root.send("/logout")
        assert root.get("/").status_code == 303
        mended = cookie.partition(";")[0]
        changed = mended[:-4] + ("AAAA" if mended[-4:] != "AAAA" else "BBBB")
        with Visitor(root.at, Cookie=changed) as forger:
            assert forger.get("/").status_code == 303


def test_in_a_browser(shop: Shop, browser: Browser, axe_text: str, pictures: Path) -> None:
    server = shop.serve()
    shop.fill(server)
    browser.open(f"{dashboard_of(server)}/jobs?queue=mail")
    browser.find("h1", "Log in")
    assert browser.faults(axe_text) == []
    browser.picture(pictures / "login.png")
    browser.type("#token", "tcs_wrong")
    browser.press(Keys.ENTER)
    browser.find(".note.bad", "not known")
    browser.type("#token", shop.root)
    browser.press(Keys.ENTER)
    browser.find("h1", "Overview")
    browser.find(".who", "root")
    assert browser.script("return document.cookie") == ""  # no script sees any
    browser.click(".nav a", "Queues")
    browser.find("tr[data-key=secret]")
    browser.click("button", "Log out")
    browser.find("h1", "Log in")
    browser.driver.back()
    browser.find("h1", "Log in")


def test_read_alone_sees_each_page_no_payload_and_does_nothing(shop: Shop) -> None:
    server = shop.serve()
    shop.fill(server)
    token, _ = shop.create("guest", Scope.READ)
    with Visitor(dashboard_of(server)) as guest:
        until(lambda: guest.login(token).status_code == 303, within=10)
        for page in PAGES:
            if page in ("/reports", "/outbox"):
                assert guest.get(page).status_code == 403
                continue
            assert CANARY not in guest.text(page), page
        for job in ("dead-1", "done-1", "later-1", "said-1"):
            text = guest.text(f"/job?queue=mail&id={job}")
            assert CANARY not in text
            assert "<code>read_payload</code>" in text
            assert "<code>operate</code>, which guest does not have" in text
        assert "/reports" not in guest.text("/")
        for stream in STREAMS:
            with guest.stream(stream) as events:
                event, html = next(events)
                assert event == "picture"
                assert CANARY not in html
        with guest.stream("/live/job?queue=mail&id=said-1") as events:
            assert CANARY not in next(events)[1]
        for form in FORMS:
            which = {"queue": "mail", "id": "later-1" if "job" in form else "pay-day"}
            answer = guest.send(form, when="1h", do="retry", state="FAILED", token="x", **which)
            assert answer.status_code in (403, 409), form
            assert re.search("takes the scope (operate|schedule|admin)", answer.text), form
    with Client(server.address, token=shop.root, tls=False) as client:
        assert client.get("later-1", queue="mail").state == "SCHEDULED"
        assert client.get("dead-1", queue="mail").attempt == 1
        assert not client.queue("mail").paused


def test_queues_of_others_are_not_there(shop: Shop) -> None:
    server = shop.serve()
    shop.fill(server)
    token, _ = shop.create("mailer", *ALL, queues=("mail",))
    with Visitor(dashboard_of(server)) as mailer:
        until(lambda: mailer.login(token).status_code == 303, within=10)
        for page in PAGES:
            if page in ("/reports", "/outbox"):
                assert mailer.get(page).status_code == 403
            else:
                assert "secret" not in mailer.text(page), page
        mailer.text("/workers")
        for page in (
            "/queue?queue=secret",
            "/jobs?queue=secret",
            "/job?queue=secret&id=other-1",
            "/failed?queue=secret",
        ):
            assert mailer.get(page).status_code == 403


def test_a_token_that_is_revoked_ends_its_pages_and_their_streams(shop: Shop) -> None:
    server = shop.serve()
    token, token_id = shop.create("guest", Scope.READ)
    with Visitor(dashboard_of(server)) as guest:
        until(lambda: guest.login(token).status_code == 303, within=10)
        with guest.stream("/live/overview") as events:
            assert next(events)[0] == "picture"
            revoke_token(shop.file, token_id)
            assert "login" in [event for event, _ in events]  # and then it ends
        assert guest.get("/").status_code == 303


def test_an_open_page_leads_to_the_login_where_it_ended(shop: Shop, browser: Browser) -> None:
    server = shop.serve()
    shop.fill(server)
    browser.open(dashboard_of(server))
    browser.type("#token", shop.root)
    browser.press(Keys.ENTER)
    browser.find("tr[data-key=mail]")
    browser.devtools("Network.clearBrowserCookies")
    browser.script("document.dispatchEvent(new Event('visibilitychange'))")  # the stream is asked for anew
    browser.find("h1", "Log in")


def test_two_servers_know_whoever_logged_in_at_one_of_them(shop: Shop) -> None:
    one, two = shop.serve(), shop.serve()
    shop.fill(one)
    with Visitor(dashboard_of(one)) as root:
        root.login(shop.root)
        root.at = dashboard_of(two)
        root.text("/job?queue=mail&id=later-1")
        assert root.send("/job/run", queue="mail", id="later-1").headers["location"].endswith("said=run")
        with root.stream("/live/overview") as events:
            assert next(events)[0] == "picture"


@pytest.mark.parametrize("secret", ["", "0123456789abcdef0123456789abcdef"])
def test_a_secret_of_ones_own_keeps_logins_where_tokens_are_made(shop: Shop, secret: str) -> None:
    server = shop.serve(**({"TOCSIN_WEB__SECRET": secret} if secret else {}))
    with Visitor(dashboard_of(server)) as root, Visitor(dashboard_of(server)) as fresh:
        root.login(shop.root)
        token, _ = shop.create("fresh", Scope.READ)
        until(lambda: fresh.login(token).status_code == 303, within=10)
        assert root.get("/").status_code == (200 if secret else 303)


def test_a_form_of_another_page_does_nothing(shop: Shop) -> None:
    server = shop.serve()
    shop.fill(server)
    with Visitor(dashboard_of(server)) as root:
        root.login(shop.root)
        fields = {"queue": "mail", "id": "later-1"}
        found = re.search(r'name="csrf" value="([^"]+)"', root.text("/job?queue=mail&id=later-1"))
        assert found
        csrf = {"csrf": found[1]}
        own = {"Sec-Fetch-Site": "same-origin"}
        host = root.at.partition("//")[2]
        for data, headers in (
            (fields, own),
            ({**fields, "csrf": "x" * 43}, own),
            ({**fields, "csrf": ""}, own),
            ({**fields, **csrf}, {"Sec-Fetch-Site": "cross-site"}),
            ({**fields, **csrf}, {"Sec-Fetch-Site": "same-site"}),
            ({**fields, **csrf}, {"Origin": "https://evil.example"}),
            ({**fields, **csrf}, {"Origin": "null"}),
            ({**fields, **csrf}, {}),
        ):
            answer = root.http.post(root.at + "/job/delete", data=data, headers=headers)
            assert answer.status_code == 403, headers
            assert "Nothing was done" in answer.text
        for form in FORMS:
            assert root.get(form).status_code in (404, 405)
        good = root.http.post(
            root.at + "/job/run", data={**fields, **csrf}, headers={"Origin": f"http://{host}"}
        )  # of an older browser
        assert good.status_code == 303


INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|hx-on", re.IGNORECASE)


def test_each_answer_forbids_what_pages_do_not_need_and_each_page_keeps_to_it(shop: Shop) -> None:
    server = shop.serve()
    shop.fill(server)
    with Visitor(dashboard_of(server)) as root:
        root.login(shop.root)
        for page in (*PAGES, "/login", "/nowhere", "/static/tocsin.css", "/job?id=none"):
            answer = root.get(page)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert not INLINE.search(answer.text), page
            assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", answer.text), page  # all is from here


def test_what_is_done_stands_in_the_audit_log_with_who_did_it(shop: Shop) -> None:
    server = shop.serve(TOCSIN_AUDIT__TO=f"file:{shop.folder / 'audit.jsonl'}")
    shop.fill(server)
    with Visitor(dashboard_of(server)) as root:
        root.login(shop.root)
        root.send("/queue/pause", queue="mail", reason="moved")
    lines = [json.loads(line) for line in (shop.folder / "audit.jsonl").read_text().splitlines()]
    [paused] = [line for line in lines if "PauseQueue" in str(line)]
    assert "root" in str(paused)


def test_below_the_path_of_a_proxy(shop: Shop) -> None:
    server = shop.serve("--web-root-path", "/ops/tocsin/")
    shop.fill(server)
    below = dashboard_of(server)
    assert below.endswith("/ops/tocsin")
    with Visitor(below) as root:
        answer = root.login(shop.root)
        assert answer.headers["location"] == "/ops/tocsin/"
        assert "Path=/ops/tocsin" in answer.headers["set-cookie"]
        for page in PAGES:
            text = root.text(page)
            found = re.findall(r'(?:href|src|action|data-live)="(/[^"]*)"', text)
            assert found
            assert all(link.startswith("/ops/tocsin/") for link in found), page
        cookies = "; ".join(f"{one.name}={one.value}" for one in root.http.cookies.jar)
        with Visitor(below.removesuffix("/ops/tocsin"), Cookie=cookies) as stripped:  # a proxy that takes it away
            assert 'href="/ops/tocsin/queues"' in stripped.text("/queues")
        assert root.http.get(root.at.removesuffix("/tocsin") + "/other").status_code == 404


def test_where_nobody_logs_in_no_foreign_name_leads_here(redis: RedisBackend, serve: Callable[..., Server]) -> None:
    server = serve(redis.url, **WEB, TOCSIN_WEB__HOSTS="jobs.intranet")
    at = dashboard_of(server)
    for host, code in (
        ("evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("", 421),
        ("jobs.intranet", 200),
        ("JOBS.intranet:8080", 200),
        ("localhost:1", 200),
        ("[::1]:1", 200),
        ("10.1.2.3", 200),
    ):
        with Visitor(at, Host=host) as visitor:
            assert visitor.get("/").status_code == code, host


def test_over_tls_with_a_certificate_that_is_replaced(shop: Shop, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.sign("server")
    tls = {"TOCSIN_TLS__CERT_FILE": str(pair.cert), "TOCSIN_TLS__KEY_FILE": str(pair.key)}
    server = with_probes(shop, **tls)
    at = dashboard_of(server)
    assert at.startswith("https://")
    with Visitor(at, ca=str(authority.ca)) as root:
        answer = root.login(shop.root)
        cookies = answer.headers.get_list("set-cookie")
        assert cookies
        assert all("Secure" in cookie for cookie in cookies)
        root.text("/")
    port = int(at.rpartition(":")[2])
    before = ssl.get_server_certificate(("127.0.0.1", port))
    pair.replace(authority.sign("another"))
    until(lambda: ssl.get_server_certificate(("127.0.0.1", port)) != before, within=15)
    with Visitor(at, ca=str(authority.ca)) as root:
        assert root.login(shop.root).status_code == 303


def test_where_clients_show_certificates_browsers_do_too(shop: Shop, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair, own = authority.sign("server"), authority.sign("ada")
    files = {"CERT_FILE": pair.cert, "KEY_FILE": pair.key, "CLIENT_CA_FILE": authority.ca}
    server = with_probes(shop, **{f"TOCSIN_TLS__{name}": str(path) for name, path in files.items()})
    at = dashboard_of(server)
    with Visitor(at, ca=str(authority.ca), cert=(str(own.cert), str(own.key))) as ada:
        assert ada.login(shop.root).status_code == 303
        ada.text("/")
    with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
        urllib.request.urlopen(at, timeout=10, context=ssl.create_default_context(cafile=authority.ca)).read()


def test_an_authority_that_is_taken_away_lets_nobody_in_any_more(shop: Shop, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "ca", "other")
    pair, ada, bert = authority.sign("server"), authority.sign("ada"), other.sign("bert")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.ca.read_bytes() + other.ca.read_bytes())
    files = {"CERT_FILE": pair.cert, "KEY_FILE": pair.key, "CLIENT_CA_FILE": trusted}
    server = with_probes(shop, **{f"TOCSIN_TLS__{name}": str(path) for name, path in files.items()})
    port = int(dashboard_of(server).rpartition(":")[2])
    context = {name: ssl.create_default_context(cafile=str(authority.ca)) for name in ("ada", "bert")}
    for name, own in (("ada", ada), ("bert", bert)):
        context[name].load_cert_chain(own.cert, own.key)

    def answer(name: str, session: ssl.SSLSession | None = None) -> tuple[str, ssl.SSLSession | None]:
        """The first line that somebody is answered, "" where they are not let in, and their session."""
        with (
            suppress(ssl.SSLError, ConnectionError),
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context[name].wrap_socket(raw, server_hostname="localhost", session=session) as link,
        ):
            link.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            said = link.makefile("rb").read().split(b"\r\n")[0].decode()
            return said, link.session
        return "", None

    kept = context["bert"].wrap_socket(socket.create_connection(("127.0.0.1", port), 30), server_hostname="localhost")
    ask = b"GET /static/tocsin.svg HTTP/1.1\r\nHost: localhost\r\n\r\n"
    kept.sendall(ask)
    assert kept.recv(100).startswith(b"HTTP/1.1 200 OK")
    ok = "HTTP/1.1 200 OK"
    before, session = answer("bert")
    assert (answer("ada")[0], before) == (ok, ok)
    fresh = trusted.with_suffix(".new")
    fresh.write_bytes(authority.ca.read_bytes())
    fresh.replace(trusted)
    until(lambda: answer("bert")[0] == "", within=15)
    assert answer("bert", session)[0] == ""  # what was agreed on while it was trusted is good for nothing
    with kept, suppress(ConnectionError):  # nor is a connection that stood
        while kept.recv(10_000):
            pass
    assert answer("ada")[0] == ok
    trusted.write_bytes(other.ca.read_bytes())  # and again
    until(lambda: answer("bert")[0] == ok, within=15)
    assert answer("ada")[0] == ""
    assert server.stop(timeout=10) == 0
    assert "Traceback" not in server.said(1_000_000)


def with_probes(shop: Shop, **env: str) -> Server:
    """A server that speaks TLS, awaited by its port for probes."""
    chosen = {**store_settings(shop.redis.url), "TOCSIN_AUTH__PRINCIPALS_FILE": str(shop.file), **WEB, **env}
    server = Server(shop.folder, ["--no-dispatch"], chosen, health_port=free_port())
    shop.servers.append(server)
    return server.start()


def test_processes_share_the_port(shop: Shop) -> None:
    port = free_port()
    server = shop.serve("--processes", "2", TOCSIN_WEB__LISTEN=f"127.0.0.1:{port}")
    shop.fill(server)
    seen = set()
    for _ in range(40):  # a connection each: the kernel deals them
        with Visitor(f"http://127.0.0.1:{port}") as root:
            root.login(shop.root)
            found = re.search(r"server ([^<]+)</footer>", root.text("/"))
            assert found
            seen.add(found[1])
        if len(seen) == 2:
            return
    raise AssertionError(seen)


def test_a_port_that_is_taken_is_told_in_a_line(shop: Shop) -> None:
    first = shop.serve()
    taken = dashboard_of(first).rpartition("/")[2]
    done = subprocess.run(
        [sys.executable, "-m", "tocsin.cli.main", "serve", "--listen", "127.0.0.1:0", "--web", taken],
        env={"PATH": "/usr/bin", **store_settings(shop.redis.url)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("name another address as web.listen")
