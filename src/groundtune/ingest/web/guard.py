"""The guard of the network: which IP addresses may be connected to, checked where the connection is made.

Names are resolved here, once a connection: all answers are checked, and what is connected to is an answer that was
checked, so that a name server that says something else a moment later changes nothing. Redirects and links need no
check of their own: they connect too. Leaves out connections through a proxy, which resolves names itself; ``refusal_of_name`` serves there.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

#: the IANA registries of special-purpose addresses, most telling name first
_KINDS = tuple(
    (name, tuple(ipaddress.ip_network(network) for network in networks.split()))
    for name, networks in (
        ("an unspecified address", "0.0.0.0/8 ::/128"),
        ("a loopback address", "127.0.0.0/8 ::1/128"),
        ("a link-local address", "169.254.0.0/16 fe80::/10"),
        ("a private address", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"),
        ("a carrier's shared address", "100.64.0.0/10"),
        ("a multicast address", "224.0.0.0/4 ff00::/8"),
        ("a documentation address", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20"),
        ("a reserved address", "192.0.0.0/24 192.88.99.0/24 198.18.0.0/15 240.0.0.0/4 100::/64 2001::/23 5f00::/16"),
    )
)
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")
#: IPv6 prefix -> bits below which an IPv4 address stands
_EMBEDDED = tuple(
    (ipaddress.ip_network(network), shift)
    for network, shift in (
        ("::ffff:0:0/96", 0), ("::/96", 0), ("::ffff:0:0:0/96", 0), ("64:ff9b::/96", 0), ("2002::/16", 80),
    )
)  # fmt: skip


def refusal(address: str) -> str:
    """Why an IP address is not connected to, as in "a loopback address"; empty where it is a public one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    kind = next((name for name, networks in _KINDS if any(ip in net for net in networks)), "")
    if kind or isinstance(ip, ipaddress.IPv4Address):
        return kind
    number = int(ip)
    for network, shift in _EMBEDDED:
        if ip in network:
            inner = ipaddress.IPv4Address((number >> shift) & 0xFFFFFFFF)
            return refusal(str(inner))
    if (number >> 32) & 0xFFFFFFFF in (0x00005EFE, 0x02005EFE):  # ISATAP
        return refusal(str(ipaddress.IPv4Address(number & 0xFFFFFFFF)))
    return "" if ip in _PUBLIC_V6 else "a reserved address"


def literal(host: str) -> IP | None:
    """The IP address that a host is, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class Refused(OSError):
    """A connection that is not made; its text says why."""


class Oversized(ConnectionError):
    """A connection that was cut because more came over it than one page may have."""


class Guard:
    """Stands between Twisted and the network of this process.

    Args:
        allow_private: connect to anything.
        limit_bytes: most bytes that may come for one request, headers included.
        proxies: addresses of the proxies in use (``http://proxy:3128``), which may be private.
    """

    def __init__(self, *, allow_private: bool, limit_bytes: int, proxies: Iterable[str] = ()) -> None:
        from urllib.parse import urlsplit

        self.allow_private = allow_private
        self.limit_bytes = limit_bytes
        #: host -> why it was refused
        self.refused: dict[str, str] = {}
        split = (urlsplit(proxy if "://" in proxy else f"http://{proxy}") for proxy in proxies)
        self._proxies = {(p.hostname, p.port or (443 if p.scheme == "https" else 80)) for p in split if p.hostname}
        self._connect: Callable[..., Any] | None = None
        self._names: Any = None

    def install(self, reactor: Any) -> None:
        """Take over name resolution and outgoing connections of a Twisted reactor."""
        from twisted.internet.interfaces import IHostnameResolver
        from zope.interface import directlyProvides  # type: ignore[import-untyped,unused-ignore]

        self._names = reactor.nameResolver
        self._connect = reactor.connectTCP
        directlyProvides(self, IHostnameResolver)
        reactor.installNameResolver(self)
        reactor.connectTCP = self.connect

    def connect(self, host: str, port: int, factory: Any, *args: Any, **options: Any) -> Any:
        """``connectTCP``, the last place before a socket; takes IP addresses that pass, and proxies.

        Raises:
            Refused: for anything else.
        """
        assert self._connect is not None
        if (host, port) in self._proxies:
            return self._connect(host, port, factory, *args, **options)
        if literal(host) is None:
            raise Refused(f"{host} was not resolved")
        if not self.allow_private and (why := refusal(host)):
            raise Refused(f"{host} is {why}")
        return self._connect(host, port, _capped(factory, self.limit_bytes), *args, **options)

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """Twisted's ``IHostnameResolver``: all answers if every one passes, else none and the reason in ``refused``."""

        def deliver(answers: list[Any]) -> None:
            proxy = (hostName, portNumber) in self._proxies
            if proxy:
                self._proxies |= {(answer.host, portNumber) for answer in answers}
            elif why := self._refusal(answers):
                self.refused[hostName] = why
                answers = []
            for answer in answers:
                resolutionReceiver.addressResolved(answer)
            resolutionReceiver.resolutionComplete()

        receiver = _Answers(resolutionReceiver.resolutionBegan, deliver)
        return self._names.resolveHostName(receiver, hostName, portNumber, addressTypes, transportSemantics)

    async def refusal_of_name(self, host: str) -> str:
        """Why a host is refused that a proxy would connect to; empty where it passes or is not known here."""
        if self.allow_private:
            return ""
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._names.resolveHostName(_Answers(lambda _: None, done.set_result), host, 80)
        return self._refusal(await done)

    def _refusal(self, answers: list[Any]) -> str:
        if self.allow_private:
            return ""
        return next((why for answer in answers if (why := refusal(answer.host))), "")


class _Answers:
    """Twisted's ``IResolutionReceiver``: gathers the answers and hands them on together."""

    def __init__(self, began: Callable[[Any], None], complete: Callable[[list[Any]], None]) -> None:
        self.resolutionBegan = began
        self._complete = complete
        self._answers: list[Any] = []

    def addressResolved(self, address: Any) -> None:
        self._answers.append(address)

    def resolutionComplete(self) -> None:
        self._complete(self._answers)


def _capped(factory: Any, limit_bytes: int) -> Any:
    """The factory, with connections that are cut when more than so many bytes come after a request.

    Scrapy counts the bytes of a body; this also ends headers and chunk lines without end.
    """
    from twisted.protocols import policies
    from twisted.python import failure

    failed: Any = failure.Failure
    twisted: Any = policies

    class Capped(twisted.ProtocolWrapper):  # type: ignore[misc]
        came = 0
        cut = False

        def write(self, data: bytes) -> None:
            self.came = 0
            super().write(data)

        def writeSequence(self, data: Iterable[bytes]) -> None:
            self.came = 0
            super().writeSequence(data)

        def dataReceived(self, data: bytes) -> None:
            self.came += len(data)
            if self.cut:
                return
            if self.came > limit_bytes:
                self.cut = True
                self.transport.abortConnection()
            else:
                super().dataReceived(data)

        def connectionLost(self, reason: Any) -> None:
            super().connectionLost(failed(Oversized()) if self.cut else reason)

    wrapping = twisted.WrappingFactory(factory)
    wrapping.protocol = Capped
    wrapping.noisy = False
    return wrapping
