"""The login of new connections, where it may change while the server runs: passwords in files are renewed there."""

from __future__ import annotations

from collections.abc import Callable

from redis.credentials import CredentialProvider

from tocsin_server.store.redis.connection.url import read_url


class Login(CredentialProvider):
    """User and password as the address has them at the moment at which a connection is made; its other parts stay as
    they were at the start. While it cannot be read, the last login holds."""

    def __init__(self, url_now: Callable[[], str]) -> None:
        self._url_now = url_now
        self._last: tuple[str, ...] = ()

    def get_credentials(self) -> tuple[str, ...]:  # type: ignore[override]  # () is right: without a login
        """(password,), (user, password), or () without a login."""
        try:
            options = read_url(self._url_now()).options
        except ValueError:
            return self._last
        user, password = options.get("username") or "", options.get("password") or ""
        self._last = (user, password) if user else (password,) if password else ()
        return self._last

    async def get_credentials_async(self) -> tuple[str, ...]:  # type: ignore[override]
        """The same."""
        return self.get_credentials()
