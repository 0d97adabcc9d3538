"""Web addresses: one spelling for each page, so that no page is fetched twice and loops of links end.

Leaves out whether an address may be fetched (``guard``, ``robots``).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit, urlunsplit

#: longer addresses are taken for a loop
MAX_CHARACTERS = 2083
_PORTS = {"http": 80, "https": 443}
#: parameters that name a visit or where it came from, never a page
_VISIT = re.compile(
    r"(?i)^(?:phpsessid|jsessionid|aspsessionid\w*|asp\.net_sessionid|cfid|cftoken|oscsid|zenid|sessionid|session_id|sessid"
    r"|utm_\w+|gclid|fbclid|msclkid|yclid|dclid|mc_cid|mc_eid|igshid|_ga|_gl)$"
)
#: these too, where the value looks like one; ``sid=12`` may be a story's number
_PERHAPS_VISIT = re.compile(r"(?i)^(?:sid|session|s|phpsid|xtsid)$")
_VISIT_VALUE = re.compile(r"^(?=.*\d)[A-Za-z0-9_-]{20,}$")
_VISIT_IN_PATH = re.compile(r"(?i);(?:jsessionid|sessionid|phpsessid|sid)=[^/;?]*")
_HOST = re.compile(r"^(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$")
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")


class BadAddress(ValueError):
    """No address that can be fetched; its text says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """One page's address.

    Attributes:
        url: what is asked for: no fragment, no session parameters, percent-encoded.
        key: the same for every spelling of it (order of parameters, case of escapes).
        scheme, host, port: its parts; the host in lower case, IP addresses in their usual spelling.
    """

    url: str
    key: str
    scheme: str
    host: str
    port: int

    @property
    def site(self) -> tuple[str, int]:
        """Equal for http and https, and with and without ``www.``; another port is another site."""
        port = 0 if self.port == _PORTS[self.scheme] else self.port
        return self.host.removeprefix("www."), port

    @property
    def origin(self) -> str:
        """Scheme, host and port: what one robots.txt is for."""
        return "{0.scheme}://{0.netloc}".format(urlsplit(self.url))

    @property
    def path(self) -> str:
        """The path, with its leading slash."""
        return urlsplit(self.url).path


def parse(text: str, base: str = "") -> Address:
    """The address that a text names.

    Args:
        text: as typed, or as a link has it.
        base: the address that a relative link is relative to.

    Raises:
        BadAddress: no http or https, a user name in it, an impossible host or port, or too long.
    """
    cleaned = re.sub(r"[\t\r\n]", "", text.strip())
    head, mark, tail = _split_at_query(cleaned)
    cleaned = head.replace("\\", "/") + mark + tail  # as browsers read it
    try:
        parts = urlsplit(urljoin(base, cleaned) if base else cleaned)
        if parts.scheme not in _PORTS:
            raise BadAddress(f"{parts.scheme or 'no scheme'}, not http or https")
        if "@" in parts.netloc:
            raise BadAddress("it holds a user name or password")
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        host = _host(parts.hostname or "")
    except BadAddress:
        raise
    except ValueError as error:
        raise BadAddress(str(error)) from None
    if port == 0:
        raise BadAddress("there is no port 0")
    netloc = f"[{host}]" if ":" in host else host
    if port != _PORTS[parts.scheme]:
        netloc += f":{port}"
    path = _VISIT_IN_PATH.sub("", urlsplit(urljoin(f"http://{netloc}/", parts.path or "/")).path) or "/"
    url = urlunsplit((parts.scheme, netloc, _escaped(path), _query(parts.query), ""))
    if len(url) > MAX_CHARACTERS:
        raise BadAddress(f"it has {len(url):,} characters")
    return Address(url, _key(url), parts.scheme, host, port)


def _split_at_query(text: str) -> tuple[str, str, str]:
    at = re.search(r"[?#]", text)
    return (text, "", "") if at is None else (text[: at.start()], at[0], text[at.end() :])


def _host(host: str) -> str:
    """The host in its one spelling: ``0x7f.1`` and fullwidth digits become ``127.0.0.1``."""
    host = unquote(host)
    if ":" in host:
        if "%" in host:
            raise BadAddress("an IPv6 address with a zone")
        return str(ipaddress.IPv6Address(host))
    if not host.isascii():
        import idna

        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise BadAddress(f"no host {host!r}: {error}") from None
    host = host.lower().rstrip(".")
    if not host or len(host) > 253 or not _HOST.match(host):
        raise BadAddress(f"no host {host!r}" if host else "no host")
    if re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2]):
        return _ipv4(host)
    return host


def _ipv4(host: str) -> str:
    """An IPv4 address in any of the spellings that ``inet_aton`` takes: parts in octal, decimal or hex, one to four."""
    try:
        parts = [int(p, 16 if p.startswith("0x") else 8 if len(p) > 1 and p[0] == "0" else 10) for p in
                 (part if part != "0x" else "0" for part in host.split("."))]  # fmt: skip
    except ValueError:
        raise BadAddress(f"no host {host!r}") from None
    if len(parts) > 4 or any(p > 255 for p in parts[:-1]) or parts[-1] >= 256 ** (5 - len(parts)):
        raise BadAddress(f"no host {host!r}")
    number = parts[-1] + sum(part << (24 - 8 * i) for i, part in enumerate(parts[:-1]))
    return str(ipaddress.IPv4Address(number))


def _escaped(path: str) -> str:
    return quote(path, safe="/%:@!$&'()*+,;=~-._|")


def _query(query: str) -> str:
    """The query without the parameters that name a visit; otherwise as it was."""
    kept = []
    for piece in query.split("&"):
        name, _, value = piece.partition("=")
        if piece and not _VISIT.match(name) and not (_PERHAPS_VISIT.match(name) and _VISIT_VALUE.match(value)):
            kept.append(piece)
    return quote("&".join(kept), safe="/%:@!$&'()*+,;=~-._|?[]{}")


def _key(url: str) -> str:
    """The same for addresses that differ in escapes or in the order of parameters."""
    parts = urlsplit(url)
    pairs = sorted(parse_qsl(parts.query, keep_blank_values=True, encoding="latin-1"))  # each byte a character
    query = "&".join("=".join(quote(part, safe="", encoding="latin-1") for part in pair) for pair in pairs)
    pieces = (unquote(piece, encoding="latin-1") for piece in parts.path.split("/"))
    path = "/".join(quote(piece, safe="", encoding="latin-1") for piece in pieces)
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
