"""Text messages over HTTP: one request a message."""

from __future__ import annotations

import asyncio
import base64
import ssl
from dataclasses import dataclass, field
from datetime import timedelta

import httpx2

from tocsin_server.messages.errors import Deferred
from tocsin_server.messages.sms.answers import name_in, secrets_of, trouble
from tocsin_server.messages.sms.forms import Form
from tocsin_server.messages.sms.transport import Message, SmsTransport

_ANSWER_BYTES = 64 << 10  # no more of an answer is read


@dataclass(frozen=True, slots=True)
class Provider:
    """Where messages are posted, in which form, and as whom. None: without login."""

    url: str = field(repr=False)
    form: Form
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def where(self) -> str:
        """Host and port, for errors. Path and query are left out, as they may hold a secret."""
        url = httpx2.URL(self.url)
        return f"the provider {url.host}" + (f":{url.port}" if url.port else "")

    @property
    def authorization(self) -> str | None:
        """The header: user and password, or a password alone as a bearer token."""
        if self.user is not None:
            pair = f"{self.user}:{self.password or ''}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        return f"Bearer {self.password}" if self.password else None


class HttpTransport(SmsTransport):
    """Posts each message to one provider. `timeout` bounds it all, from connecting to the end of the answer."""

    def __init__(self, provider: Provider, timeout: timedelta) -> None:
        self._provider = provider
        self._timeout = timeout.total_seconds()
        self._where = provider.where
        self._secrets = secrets_of(provider.user, provider.password)
        # Reading the system's certificates takes longer than a message: once, here. SSL_CERT_FILE names others.
        self._tls = ssl.create_default_context()

    @property
    def needs_sender(self) -> bool:
        """As the form says."""
        return self._provider.form.needs_sender

    async def send(self, message: Message) -> str:
        """Post it. Any 2xx takes it; 408, 425, 429, 5xx, and no answer at all are to be tried again."""
        provider = self._provider
        post = provider.form.post(message)
        headers = {**post.headers, "Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "tocsin"}
        if provider.authorization is not None:
            headers["Authorization"] = provider.authorization
        # Errors have no cause: what a library says may quote the address.
        try:
            async with asyncio.timeout(self._timeout):
                status, retry_after, answer = await self._posted(post.body, headers)
        except TimeoutError:
            raise Deferred(f"{self._where} did not answer within {self._timeout:g} s", everyone=True) from None
        except (httpx2.HTTPError, OSError) as error:
            kind = type(error).__name__
            raise Deferred(f"{self._where} cannot be reached, or broke off ({kind})", everyone=True) from None
        if 200 <= status < 300:
            return name_in(answer, provider.form)
        raise trouble(self._where, status, retry_after, answer, provider.form, self._secrets)

    async def _posted(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None, bytes]:
        async with (
            httpx2.AsyncClient(verify=self._tls, timeout=None) as client,
            client.stream("POST", self._provider.url, content=body, headers=headers) as response,
        ):
            answer = b""
            async for piece in response.aiter_raw():
                answer += piece
                if len(answer) > _ANSWER_BYTES:
                    break
            return response.status_code, response.headers.get("Retry-After"), answer[:_ANSWER_BYTES]
