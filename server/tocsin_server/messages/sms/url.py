"""How text messages leave, named by a URL.

https://api.twilio.com      form twilio: posted to /2010-04-01/Accounts/USER/Messages.json there
https://HOST/PATH?QUERY     posted to exactly that, in either form
file:FOLDER                 one .json a message, nothing is sent

Messages here never repeat the URL: its path and query may hold a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from tocsin_server.messages.errors import MessageSettingsError
from tocsin_server.messages.private_files import folder_of
from tocsin_server.messages.sms.forms import Form, JsonForm, TwilioForm
from tocsin_server.messages.sms.http import HttpTransport, Provider
from tocsin_server.messages.sms.outbox import SmsOutbox
from tocsin_server.messages.sms.transport import SmsTransport
from tocsin_server.settings import SmsSettings

_FORMS: Mapping[str, type[Form]] = {"twilio": TwilioForm, "json": JsonForm}


def open_transport(url: str, settings: SmsSettings, timeout: timedelta) -> SmsTransport:
    """The transport that a URL names, in the form and with the login of the settings; nothing is connected yet.
    `timeout` bounds it all for one message, from connecting to the provider's whole answer.

    MessageSettingsError where a setting cannot be used.
    """
    scheme, _, rest = url.partition(":")
    match scheme.lower():
        case "file":
            return SmsOutbox(folder_of(rest, "sms.url"))
        case "http" | "https":
            return HttpTransport(_provider(url, settings), timeout)
    raise MessageSettingsError("sms.url: it must begin with https://, http:// or file:")


def _provider(url: str, settings: SmsSettings) -> Provider:
    parts = _parts(url)
    password = settings.password.get_secret_value() if settings.password else None
    if settings.form == "twilio" and not parts.path.strip("/"):
        if not settings.user:
            raise MessageSettingsError("sms.user: set it to the account's SID, or give sms.url its whole path")
        account = quote(settings.user, safe="")
        url = urlunsplit(parts._replace(path=f"/2010-04-01/Accounts/{account}/Messages.json"))
    for name, value in (("sms.user", settings.user), ("sms.password", password)):
        if value is not None and (not value.isprintable() or (name == "sms.user" and ":" in value)):
            raise MessageSettingsError(f"{name}: it has a character that cannot stand there")
    if password and not settings.user and not password.isascii():
        raise MessageSettingsError("sms.password: a bearer token is made of ASCII characters")
    return Provider(url, _FORMS[settings.form](), settings.user or None, password or None)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        # No cause: urllib's message quotes what it could not read.
        raise MessageSettingsError("sms.url: host or port cannot be read") from None
    if not usable or parts.fragment:
        raise MessageSettingsError("sms.url: write https://host[:port][/path]")
    if parts.username is not None:
        raise MessageSettingsError("sms.url: user and password are set as sms.user and sms.password")
    return parts
