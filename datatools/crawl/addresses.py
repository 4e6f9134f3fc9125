"""No connection to an address that is not public, unless the user listed it.

Checked where names become addresses: every connection of the crawl goes through the reactor's resolver (pages,
robots.txt, redirects; names and literal addresses alike) and connects to what it gave, so that no later answer of a
name server can change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias

from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from zope.interface import implementer

Network: TypeAlias = IPv4Network | IPv6Network
NAT64 = IPv6Network("64:ff9b::/96")


def networks(listed: Sequence[str]) -> tuple[Network, ...]:
    """The networks of `--allow-private`."""
    return tuple(ip_network(one) for one in listed)


def is_allowed(address: str, listed: Sequence[Network]) -> bool:
    """Whether a crawl may connect to an address: a public one, or one of a listed network.

    >>> is_allowed("169.254.169.254", ()), is_allowed("::ffff:10.0.0.1", ()), is_allowed("1.1.1.1", ())
    (False, False, True)
    >>> is_allowed("127.0.0.2", networks(["127.0.0.2/32"])), is_allowed("127.0.0.1", networks(["127.0.0.2/32"]))
    (True, False)
    """
    found = _meant(ip_address(address.partition("%")[0]))
    if any(found in network for network in listed if network.version == found.version):
        return True
    return found.is_global and not found.is_multicast


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address


@implementer(IHostnameResolver)
class PublicOnly:
    """The reactor's resolver, less the addresses a crawl must not connect to. `refused` says which, by host."""

    def __init__(self, reactor: Any, listed: Sequence[Network], refused: dict[str, str]) -> None:
        self._reactor, self._listed, self._refused = reactor, listed, refused
        self._original = reactor.nameResolver

    @classmethod
    def from_crawler(cls, crawler: Any, reactor: Any) -> PublicOnly:
        """Scrapy's way of making one."""
        site = crawler.settings["DATATOOLS_SITE"]
        return cls(reactor, networks(site.settings.allow_private), site.refused)

    def install_on_reactor(self) -> None:
        """Make every connection ask here."""
        self._reactor.installNameResolver(self)

    def resolveHostName(self, receiver: Any, name: str, *rest: Any, **more: Any) -> Any:
        """As twisted.internet.interfaces.IHostnameResolver has it."""
        self._refused.pop(name, None)
        return self._original.resolveHostName(_Filter(receiver, name, self._listed, self._refused), name, *rest, **more)


@implementer(IResolutionReceiver)
class _Filter:
    def __init__(self, receiver: Any, name: str, listed: Sequence[Network], refused: dict[str, str]) -> None:
        self._receiver, self._name, self._listed, self._refused = receiver, name, listed, refused

    def resolutionBegan(self, resolution: Any) -> None:
        self._receiver.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:
        if is_allowed(address.host, self._listed):
            self._receiver.addressResolved(address)
        else:
            self._refused[self._name] = address.host

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()
