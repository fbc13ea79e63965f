"""Which addresses may be reached: never link-local ones and metadata services unless allowed by name."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from functools import lru_cache

from yarl import URL

from etlctl.kit.http.failures import AddressRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA_NAMES = {
    "metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal", "instance-data",
    "instance-data.ec2.internal",
}  # fmt: skip
_METADATA = {
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192",
        "168.63.129.16",
    )
}  # fmt: skip
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # NAT64, RFC 6052


class Reach:
    """Decides which URLs and addresses may be reached.

    Args:
        allow: Host names (``*.`` matches what comes before), addresses and networks that may be reached anyway.
        public_only: Refuse this machine and private networks too.
    """

    def __init__(self, allow: Sequence[str] = (), *, public_only: bool = False) -> None:
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._public_only = public_only
        for entry in allow:
            try:
                self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                self._names.add(entry.lower().rstrip("."))

    def check_url(self, url: URL) -> None:
        """Refuse a URL that is not HTTP, names a metadata service, or holds an address that must not be reached.

        Names are looked up only when a connection is made: see ``check``.

        Raises:
            AddressRefused: It must not be reached.
        """
        if url.scheme not in {"http", "https"}:
            raise AddressRefused(
                f"{url.scheme or 'a URL without a scheme'}: only http:// and https:// may be reached",
                help="check where the URL comes from; a server may have sent it as a next link or a redirect",
            )
        host = (url.host or "").lower().rstrip(".")
        if not host:
            raise AddressRefused("the URL has no host", help="write it as https://host/path")
        address = literal(host)
        if address is not None:
            self.check(host, address)
        elif host in _METADATA_NAMES and not self.allows(host):
            raise _refused(host, "is a cloud metadata service, which gives away the machine's credentials")

    def check(self, host: str, address: Address) -> None:
        """Refuse an address that a host name stands for, or that is the host itself.

        Raises:
            AddressRefused: It must not be reached.
        """
        if self.allows(host):
            return
        for each in _meant(address):
            if self._within(each):
                continue
            reason = _reason(each, public_only=self._public_only)
            if reason is not None:
                shown = host if literal(host) == address and host == str(address) else f"{host} ({address})"
                raise _refused(shown, reason)

    def _within(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)

    def allows(self, host: str) -> bool:
        """Tell whether a host is allowed, by its name or as an address that stands in a URL."""
        host = host.lower().rstrip(".")
        address = literal(host)
        if address is not None:
            return any(self._within(each) for each in _meant(address))
        parents = host.split(".")
        return host in self._names or any(f"*.{'.'.join(parents[at:])}" in self._names for at in range(1, len(parents)))


@lru_cache(256)
def literal(host: str) -> Address | None:
    """Return the address that a host of a URL is, also in the old forms (``2852039166``, ``0xa9.0376.43518``)."""
    bare = host.strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    try:
        # What the system's own resolver would make of it: octal, hexadecimal, decimal, fewer than four parts.
        return ipaddress.IPv4Address(socket.inet_aton(bare)) if bare[-1:].isalnum() and bare[:1].isdigit() else None
    except OSError:
        return None


def _meant(address: Address) -> list[Address]:
    """Return an address and the IPv4 address inside it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    inner = [address.ipv4_mapped, address.sixtofour, address.teredo[1] if address.teredo else None]
    if address in _TRANSLATED:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    found: list[Address] = [each for each in inner if each is not None]
    if address.ipv4_mapped is None:
        found.append(address)
    return found


def _reason(address: Address, *, public_only: bool) -> str | None:
    if address in _METADATA:
        return "is a cloud metadata service, which gives away the machine's credentials"
    if address.is_link_local:
        return "is a link-local address, where cloud machines keep their credentials"
    if address.is_multicast:
        return "is a multicast address"
    if public_only and not address.is_global:
        return "is not a public address"
    return None


def _refused(host: str, reason: str) -> AddressRefused:
    name = host.partition(" ")[0]
    return AddressRefused(
        f"{host} {reason}: refused",
        help=f"if the contract is really meant to reach it, add allow_hosts: [{name!r}]; "
        "if the address came from a server (a next link, a redirect), do not",
    )
