"""No crawl reaches this machine or its network: by address, by name, by redirect, by a name server that changes its mind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from groundtune.config import CrawlConfig
from groundtune.errors import InputError
from groundtune.ingest import crawl as crawling
from groundtune.ingest.crawl import CrawlResult, crawl
from web_site import Answer, Site, moved, page

SETTINGS = CrawlConfig(delay_seconds=0, page_megabytes=1, page_seconds=2)
#: a crawler for which 127.0.0.1 is a public address, and with names of its own; it takes no part in what is tested
LAUNCH = """
import socket
answers = {
    "public.test": ["127.0.0.1"], "inside.test": ["127.0.0.2"], "mixed.test": ["127.0.0.1", "10.0.0.1"],
    "mapped.test": ["::ffff:127.0.0.2"],
}
asked = []
real = socket.getaddrinfo
def getaddrinfo(host, port, *rest, **named):
    asked.append(host)
    if host == "changing.test":  # public when it is asked for the first time
        found = ["127.0.0.1"] if asked.count(host) == 1 else ["127.0.0.2"]
    else:
        found = answers.get(host)
    if found is None:
        return real(host, port, *rest, **named)
    families = [(socket.AF_INET6, (a, port, 0, 0)) if ":" in a else (socket.AF_INET, (a, port)) for a in found]
    return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in families]
socket.getaddrinfo = getaddrinfo
from groundtune.ingest.web import guard
private = guard.refusal
guard.refusal = lambda address: "" if address == "127.0.0.1" else private(address)
from scrapy import resolver
resolver.dnscache.__class__.__getitem__ = lambda self, key: {}[key]  # every connection asks the name server
from groundtune.ingest.web.spider import main
main()
"""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def public_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 stands for the public internet; 127.0.0.2 for the inside."""
    private = crawling.refusal
    monkeypatch.setattr(crawling, "refusal", lambda address: "" if address == "127.0.0.1" else private(address))
    monkeypatch.setattr(crawling, "CHILD", ("-c", LAUNCH))


def refused(url: str, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        crawl(url, folder, SETTINGS)
    assert "--allow-private" in caught.value.next_step
    return caught.value.problem


def reasons(result: CrawlResult) -> dict[str, str]:
    return {item.url: item.reason for item in result.left}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "１２７.0.0.1"]
)
def test_this_machine_is_refused_in_every_spelling(host: str, tmp_path: Path) -> None:
    with Site({"/": page("Inside")}) as site:
        problem = refused(f"http://{host}:{site.port}/", tmp_path)
        assert "address" in problem
        assert not site.hits


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST."])
def test_names_that_mean_this_machine_are_refused(host: str, tmp_path: Path) -> None:
    with Site({"/": page("Inside")}) as site:
        assert "localhost is a loopback address" in refused(f"http://{host}:{site.port}/", tmp_path)
        assert not site.hits


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "192.168.1.1", "224.0.0.1"]
)
def test_networks_inside_are_refused(address: str, tmp_path: Path) -> None:
    assert "address" in refused(f"http://{address}/", tmp_path)


def test_the_setting_allows_it(tmp_path: Path) -> None:
    with Site({"/": page("Inside")}) as site:
        for host in ("127.0.0.1", "localhost", "2130706433"):
            result = crawl(f"http://{host}:{site.port}/", tmp_path, SETTINGS.model_copy(update={"allow_private": True}))
            assert len(result.fetched) == 1


@pytest.mark.usefixtures("public_loopback")
def test_redirects_and_links_to_the_inside_are_refused(tmp_path: Path) -> None:
    with Site({}) as site, Site({"/secret": page("Secret")}, "127.0.0.2", site.port) as secret:
        inside = {
            "/a": f"http://127.0.0.2:{site.port}/secret", "/b": "http://169.254.169.254/latest/meta-data/",
            "/c": f"http://inside.test:{site.port}/secret", "/d": f"http://mixed.test:{site.port}/secret",
            "/e": f"http://mapped.test:{site.port}/secret", "/f": f"http://[::ffff:127.0.0.2]:{site.port}/secret",
            "/g": "http://10.0.0.1/",
        }  # fmt: skip
        site.answers |= {path: moved(target) for path, target in inside.items()}
        site.answers["/"] = page("Outside", [*inside, f"http://127.0.0.3:{site.port}/secret"])
        result = crawl(f"http://public.test:{site.port}/", tmp_path, SETTINGS.model_copy(update={"same_site": False}))
        assert [item.title for item in result.fetched] == ["Outside"]
        left = reasons(result)
        for target in [*inside.values(), f"http://127.0.0.3:{site.port}/secret"]:
            assert " is a " in left[target.replace("::ffff:127.0.0.2", "::ffff:7f00:2")], target
        assert not secret.hits


@pytest.mark.usefixtures("public_loopback")
def test_a_name_server_that_changes_its_mind_gains_nothing(tmp_path: Path) -> None:
    closing = {"Connection": "close", "Content-Type": "text/html"}

    def closed(answer: Answer) -> Answer:
        return Answer(answer.body, answer.status, {**answer.headers, **closing})

    with (
        Site({"/": closed(page("Outside", ["/secret"]))}) as site,
        Site({"/secret": page("Secret")}, "127.0.0.2", site.port) as secret,
    ):
        site.answers["/robots.txt"] = Answer(b"", headers={"Content-Type": "text/plain"})
        result: Any = crawl(f"http://changing.test:{site.port}/", tmp_path, SETTINGS)
        assert [item.title for item in result.fetched] == ["Outside"]
        assert "loopback" in reasons(result)[f"http://changing.test:{site.port}/secret"]
        assert set(site.hits) == {"/robots.txt", "/"}
        assert not secret.hits


@pytest.mark.usefixtures("public_loopback")
def test_a_proxy_is_used_for_others_and_names_inside_are_refused_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = ["http://inside.test/secret", "http://10.0.0.1/secret"]
    with Site({"http://far.invalid/": page("By proxy", links)}, "127.0.0.2") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)  # inside, as proxies are
        result = crawl("http://far.invalid/", tmp_path, SETTINGS.model_copy(update={"same_site": False}))
        assert [item.title for item in result.fetched] == ["By proxy"]
        assert all(" is a " in reasons(result)[link] for link in links)
        assert not [path for path in proxy.hits if "secret" in path]


def test_this_machine_is_not_asked_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Site({"/": page("Inside")}) as site:
        result = crawl(site.url, tmp_path, SETTINGS.model_copy(update={"allow_private": True}))
        assert [item.title for item in result.fetched] == ["Inside"]


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    import ssl

    with Site({"/": page("Inside")}) as site:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed(tmp_path))
        site.wrap(context)
        settings = SETTINGS.model_copy(update={"allow_private": True})
        with pytest.raises(InputError) as caught:
            crawl(site.url.replace("http:", "https:"), tmp_path, settings)
        assert "no trusted TLS connection" in caught.value.problem
        assert "SSL_CERT_FILE" in caught.value.next_step
        assert not site.hits


def self_signed(folder: Path) -> Path:
    """A file with a new key and a certificate for 127.0.0.1."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "self-signed.pem"
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path
