"""The class of a network error, in the words of the summary."""

from __future__ import annotations

from collections.abc import Mapping

from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    ResponseDataLossError,
)

from datatools.crawl.scope import host_of

CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (DownloadTimeoutError, "timeout"),
    (DownloadCancelledError, "too_large"),
    (CannotResolveHostError, "dns"),
    (DownloadConnectionRefusedError, "connection"),
    (DownloadFailedError, "connection"),
    (ResponseDataLossError, "connection"),
)
PASSING = ("timeout", "dns", "connection")  # what may be over in a while
NETWORK = ("twisted", "OpenSSL", "scrapy", "service_identity")


def why(url: str, error: Exception, refused: Mapping[str, str]) -> tuple[str, str]:
    """Class and message of what went wrong with a request; `refused` are hosts at addresses that are not public.

    Raises the error where the network has nothing to do with it.
    """
    host = host_of(url)
    if isinstance(error, CannotResolveHostError) and host in refused:
        return "address_refused", f"{host} is at {refused[host]}, which is not public (--allow-private)"
    told = f"{type(error).__name__}: {error}"
    if any(sign in f"{told} {error.__cause__!r}" for sign in ("SSL", "certificate", "VerificationError")):
        return "tls", told[:300]
    rule = next((rule for kind, rule in CLASSES if isinstance(error, kind)), "")
    if not rule and not isinstance(error, OSError) and not type(error).__module__.startswith(NETWORK):
        raise error
    return rule or "connection", told[:300]
