"""How text messages leave, named by a URL.

https://api.twilio.com      form twilio: posted to /2010-04-01/Accounts/USER/Messages.json there
https://HOST/PATH?QUERY     posted to exactly that, in either form
file:FOLDER                 one .json a message, nothing is sent

Messages here never repeat the URL: its path and query may hold a secret.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from tocsin_server.handlers.sms.forms import Form, JsonForm, TwilioForm
from tocsin_server.handlers.sms.http import HttpTransport, Provider
from tocsin_server.handlers.sms.outbox import OutboxTransport
from tocsin_server.handlers.sms.settings import SmsSettings, SmsSettingsError
from tocsin_server.handlers.sms.transport import Transport

_FORMS: dict[str, type[Form]] = {"twilio": TwilioForm, "json": JsonForm}


def open_transport(url: str, settings: SmsSettings) -> Transport:
    """The transport that a URL names, in the form and with the login of the settings; nothing is connected yet.

    SmsSettingsError where a setting cannot be used.
    """
    scheme, _, rest = url.partition(":")
    match scheme.lower():
        case "file":
            return OutboxTransport(_folder(rest))
        case "http" | "https":
            return HttpTransport(_provider(url, settings), settings.timeout)
    raise SmsSettingsError("sms.url: it must begin with https://, http:// or file:")


def _folder(rest: str) -> Path:
    if rest.startswith("//") and not rest.startswith("///"):
        raise SmsSettingsError("sms.url: write file:FOLDER or file:///FOLDER; file://FOLDER names a host")
    folder = unquote(rest.removeprefix("//"))
    if not folder or "\0" in folder:
        raise SmsSettingsError("sms.url: file: must be followed by a folder")
    return Path(folder)


def _provider(url: str, settings: SmsSettings) -> Provider:
    if settings.form not in _FORMS:
        raise SmsSettingsError("sms.form: it must be twilio or json")
    parts = _parts(url)
    if settings.form == "twilio" and not parts.path.strip("/"):
        if not settings.user:
            raise SmsSettingsError("sms.user: set it to the account's SID, or give sms.url its whole path")
        account = quote(settings.user, safe="")
        url = urlunsplit(parts._replace(path=f"/2010-04-01/Accounts/{account}/Messages.json"))
    for name, value in (("sms.user", settings.user), ("sms.password", settings.password)):
        if value is not None and (not value.isprintable() or (name == "sms.user" and ":" in value)):
            raise SmsSettingsError(f"{name}: it has a character that cannot stand there")
    if settings.password and not settings.user and not settings.password.isascii():
        raise SmsSettingsError("sms.password: a bearer token is made of ASCII characters")
    return Provider(url, _FORMS[settings.form](), settings.user or None, settings.password or None)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        # No cause: urllib's message quotes what it could not read.
        raise SmsSettingsError("sms.url: host or port cannot be read") from None
    if not usable or parts.fragment:
        raise SmsSettingsError("sms.url: write https://host[:port][/path]")
    if parts.username is not None:
        raise SmsSettingsError("sms.url: user and password are set as sms.user and sms.password")
    return parts
