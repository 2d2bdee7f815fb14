"""The dashboard's port: HTTP, over TLS where the server speaks it, on the event loop that all else runs on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import uvicorn

from tocsin_server.api.listening import CannotServeDashboard
from tocsin_server.background import Loop
from tocsin_server.security.certificates import Certificates
from tocsin_server.settings import MailSettings, Settings, SmsSettings
from tocsin_server.web.app import Application
from tocsin_server.web.calling import Backend
from tocsin_server.web.commands import Commands
from tocsin_server.web.guard import BrowserGuard
from tocsin_server.web.live import Live
from tocsin_server.web.login import Entrance
from tocsin_server.web.rendering import PageTemplates, StaticFiles
from tocsin_server.web.visit import Site

#: Connections that wait to be taken; seconds in which a certificate that changed is taken; and in which answers under
#: way have to be done at the end.
_BACKLOG, _LOOK, _GRACE = 256, 1.0, 3.0

#: Connections at once besides those of pages that are kept up to date.
_SHORT_CONNECTIONS = 300


class Dashboard:
    """Serves the dashboard. It asks gRPC by a Unix socket: `socket` is where, for the gRPC server to listen on."""

    def __init__(
        self,
        settings: Settings,
        certificates: Callable[[], Certificates | None],
        token_hashes: Callable[[], Sequence[str] | None],
        reuse_port: bool,
        or_any_port: bool = False,
    ) -> None:
        """As the gRPC port has it at the moment: `certificates` are None where no TLS is spoken, `token_hashes` of all
        who may call are None where everybody may. With `reuse_port` other processes listen on its address, too; with
        `or_any_port` it takes another port where its own is taken."""
        self._settings = settings
        self._certificates = certificates
        self._token_hashes = token_hashes
        self._reuse_port = reuse_port
        self._or_any_port = or_any_port
        if sys.platform == "win32":
            raise CannotServeDashboard("the dashboard takes a Unix socket, which this system does not have")
        self._folder = Path(tempfile.mkdtemp(prefix="tocsin-"))  # nobody else can open what is in it
        self.socket = self._folder / "grpc"
        self._live = Live(settings.web.streams)
        self._backend: Backend | None = None
        self._server: _Quiet | None = None
        self._serving: asyncio.Task[None] | None = None
        self._port: socket.socket | None = None
        self._looking = Loop(self._look, "dashboard-certificates")

    async def start(self, grpc_address: str) -> str:
        """Serve; its address in a browser. `grpc_address`: as terminals reach it. CannotServeDashboard."""
        web = self._settings.web
        try:
            listening = self._listening(web.listen or "")
        except CannotServeDashboard:
            if not self._or_any_port:
                raise
            listening = self._listening(f"{(web.listen or '').rpartition(':')[0]}:0")
        self._port = listening
        certificates = self._certificates()
        self._backend = Backend(self.socket)
        app = self._app(self._backend, grpc_address, tls=certificates is not None)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=65,
            limit_concurrency=web.streams + _SHORT_CONNECTIONS,  # connections; further ones are told to come later
            timeout_graceful_shutdown=int(_GRACE),
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        config.load()
        config.ssl = None if certificates is None else _context(certificates)
        self._server = _Quiet(config)
        self._serving = asyncio.create_task(self._server.serve([listening.dup()]), name="dashboard")
        if certificates is not None:
            self._looking.start()
        host = (web.listen or "").rpartition(":")[0]
        scheme = "http" if certificates is None else "https"
        return f"{scheme}://{host}:{listening.getsockname()[1]}{web.root_path}/"

    async def close(self) -> None:
        """End all streams, then what is under way, and close the port."""
        await self._live.close()
        await self._looking.close()
        if self._server is not None and self._serving is not None:
            self._server.end()
            await self._serving
        if self._port is not None:
            self._port.close()
        if self._backend is not None:
            await self._backend.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _app(self, backend: Backend, grpc_address: str, *, tls: bool) -> BrowserGuard:
        settings, web, login = self._settings, self._settings.web, self._token_hashes() is not None
        static = StaticFiles()
        site = Site(
            backend=backend,
            templates=PageTemplates(web.root_path, static),
            live=self._live,
            commands=Commands(grpc_address, tls, login=login),
            login=login,
            root_path=web.root_path,
            outboxes=outboxes(settings.mail, settings.sms),
            reports=settings.reports.folder or settings.data / "reports",
        )
        seal = None
        if login:
            from tocsin_server.web.sealing import Seal, secret_of

            own, of_all, last = web.secret, self._token_hashes, secrets.token_bytes(32)
            seal = Seal(
                lambda: own.get_secret_value().encode() if own else secret_of(of_all() or ()) or last, web.session
            )
        # A page of somebody else that leads a browser here by a name of its own would be let in where nobody logs in.
        hosts = None if login else web.hosts
        return BrowserGuard(Application(site, Entrance(site, seal), static).app(), web.root_path, hosts)

    def _listening(self, listen: str) -> socket.socket:
        host, _, port = listen.rpartition(":")
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            found = socket.socket(family, kind, protocol)
            try:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if self._reuse_port:
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                found.bind(address)
                found.listen(_BACKLOG)
                found.setblocking(False)
            except OSError:
                found.close()
                raise
            return found
        except OSError as error:
            raise CannotServeDashboard(
                f"cannot listen on {listen} for the dashboard: {error.strerror or error}; name another address as "
                "web.listen"
            ) from error

    async def _look(self) -> None:
        seen = self._certificates()
        while True:
            await asyncio.sleep(_LOOK)
            now = self._certificates()
            if now is not None and now is not seen and self._server is not None and self._port is not None:
                await self._server.renew(self._port, _context(now))
                seen = now


class _Quiet(uvicorn.Server):
    """Without signals of its own: the server's are handled elsewhere."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._asked = asyncio.Event()

    def end(self) -> None:
        """Take no more connections."""
        self.should_exit = True
        self._asked.set()

    async def renew(self, port: socket.socket, context: ssl.SSLContext) -> None:
        """Speak TLS by `context` with whoever comes to `port` from now on.

        A context that is loaded further trusts for ever whom it trusted once, and so do the sessions that it gave out:
        an authority that was taken away would let people in until the next start.
        """
        if self.should_exit or not self.started:  # what it begins with is as new
            return
        before, self.config.ssl = self.servers, context
        await self.startup([port.dup()])
        for one in before:
            one.close()
        for connection in list(self.server_state.connections):  # once they have been answered what they asked
            connection.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        # A second instead of a tenth of one: an idle server sleeps. Each tenth of its ticks writes the date of answers.
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 10
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._asked.wait()


def outboxes(mail: MailSettings, sms: SmsSettings) -> tuple[Path, ...]:
    """The folders that mails and text messages are written to, where they are not sent."""
    places = [None if one is None else one.get_secret_value() for one in (mail.transport, sms.url)]
    rests = [place.removeprefix("file:").removeprefix("//") for place in places if place and place.startswith("file:")]
    return tuple(dict.fromkeys(Path(unquote(rest)).absolute() for rest in rests))


def _context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificates.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=certificates.client_ca.decode())
    with tempfile.TemporaryDirectory(prefix="tocsin-") as folder:  # ssl reads files alone, of which only we can read it
        chain, key = Path(folder) / "chain", Path(folder) / "key"
        chain.write_bytes(certificates.chain)
        key.write_bytes(certificates.key)
        context.load_cert_chain(chain, key)
    return context
