"""Addresses a crawl never connects to."""

from __future__ import annotations

import pytest

from datatools.crawl.addresses import is_allowed, networks


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1",
        "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1",
        "fe80::1%eth0", "fd00:ec2::254", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address, ())


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "114.114.114.114", "2606:4700:4700::1111", "172.32.0.1", "100.128.0.1"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(address, ())


def test_only_what_is_listed_is_let_in() -> None:
    listed = networks(["127.0.0.2/32", "fd00::/8"])
    assert is_allowed("127.0.0.2", listed) and is_allowed("fd12::1", listed) and is_allowed("::ffff:127.0.0.2", listed)
    assert not is_allowed("127.0.0.3", listed) and not is_allowed("::1", listed) and not is_allowed("10.0.0.1", listed)
