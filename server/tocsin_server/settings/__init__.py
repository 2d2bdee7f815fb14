"""Every setting of the server: what it may be, where it comes from, what is said of a wrong one.

A value comes from the first of these that has it: a flag; an environment variable (TOCSIN_CONCURRENCY; for a setting in
a group TOCSIN_LEASE__DURATION); a variable of the origin (QUEUE_PROVIDER, REDIS_HOST, MONGODB_URL, ...); the TOML file
named by --config or TOCSIN_CONFIG (`concurrency = 20`, `[lease]` and below it `duration = "30s"`); the default.
(pydantic-settings does not know where a value came from, nor variables with names of their own inside a group; both are
needed here.)
"""

from tocsin_server.settings.access import AuthSettings, JwtSettings, TlsSettings
from tocsin_server.settings.fields import describe, without
from tocsin_server.settings.groups import (
    EventSettings,
    HttpSettings,
    MailSettings,
    MetricsSettings,
    RetentionSettings,
    RetrySettings,
    SmsSettings,
    TracingSettings,
)
from tocsin_server.settings.loading import Loaded, load
from tocsin_server.settings.model import Settings
from tocsin_server.settings.problems import SettingsError
from tocsin_server.settings.secret_files import FileSecret
from tocsin_server.settings.showing import DEFAULT, NOTHING, Origin, secrets_of
from tocsin_server.settings.sources import CONFIG_FLAG, CONFIG_VARIABLE, Flag
from tocsin_server.settings.store import StoreSettings
from tocsin_server.settings.values import duration, is_loopback, numbers_of, show_duration
from tocsin_server.settings.web import WebSettings

__all__ = [
    "CONFIG_FLAG",
    "CONFIG_VARIABLE",
    "DEFAULT",
    "NOTHING",
    "AuthSettings",
    "EventSettings",
    "FileSecret",
    "Flag",
    "HttpSettings",
    "JwtSettings",
    "Loaded",
    "MailSettings",
    "MetricsSettings",
    "Origin",
    "RetentionSettings",
    "RetrySettings",
    "Settings",
    "SettingsError",
    "SmsSettings",
    "StoreSettings",
    "TlsSettings",
    "TracingSettings",
    "WebSettings",
    "describe",
    "duration",
    "is_loopback",
    "load",
    "numbers_of",
    "secrets_of",
    "show_duration",
    "without",
]
