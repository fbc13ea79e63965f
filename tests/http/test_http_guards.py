"""Bodies that end early or never end, bombs, redirects and places that must not be reached (H5, H6, H10–H12)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hostile_server import ITEMS, Answer, HostileServer
from http_client_driving import Driver, fetch
from yarl import URL

from etlctl.errors import FatalError, GaveUp
from etlctl.kit.http.addresses import Reach
from etlctl.kit.http.failures import AddressRefused, HttpError, HttpNotTrusted
from etlctl.kit.http.message import Headers

ONCE = {"max_attempts": 1}


# Bodies.


@pytest.mark.parametrize("route", ["truncated", "truncated-chunked", "truncated-gzip", "damaged-gzip", "disconnect"])
async def test_a_body_that_is_not_whole_is_fetched_again(hostile: HostileServer, route: str) -> None:
    response = await fetch(f"{hostile.url}/{route}?times=2", retry={"backoff_factor": 0})
    assert json.loads(response.body) in (ITEMS, [{"ok": 1}])
    assert len(hostile.hits) == 3


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ("truncated", r"the body was cut off after 19 of 1,000 bytes"),
        ("truncated-chunked", r"the body was cut off after 19 bytes"),
        ("truncated-gzip", r"the compressed body was cut off"),
        ("damaged-gzip", r"the compressed body is damaged \(.*incorrect data check"),
        ("disconnect", r"closed the connection without an answer"),
        ("disconnect?reset=1", r"(closed the connection|connection .* broke)"),
        ("not-http", r"answered what is not HTTP"),
    ],
)
async def test_a_body_that_is_never_whole_is_told(hostile: HostileServer, route: str, told: str) -> None:
    with pytest.raises(GaveUp, match=told):
        await fetch(f"{hostile.url}/{route}", retry=ONCE)


@pytest.mark.parametrize("route", ["trickle", "stall", "silent"])
async def test_nothing_outlives_the_deadline(hostile: HostileServer, route: str) -> None:
    with pytest.raises(GaveUp, match=r"no complete answer within the deadline of 0\.2 s"):
        await fetch(f"{hostile.url}/{route}", retry={"deadline": 0.2})
    assert len(hostile.hits) == 1


async def test_a_server_that_falls_silent_is_asked_again(hostile: HostileServer) -> None:
    with pytest.raises(GaveUp, match=r"sent nothing for 0\.05 s \(gave up after 2 attempts"):
        await fetch(f"{hostile.url}/silent", timeout=0.05, retry={"max_attempts": 2})
    with pytest.raises(GaveUp, match=r"the body was cut off after 9 of 1,000 bytes|sent nothing for 0\.05 s"):
        await fetch(f"{hostile.url}/stall", timeout=0.05, retry=ONCE)
    assert len(hostile.hits) == 3


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ("huge?bytes=20000000", "has more bytes than that"),
        ("huge-announced?bytes=99999999999", "is 99,999,999,999 bytes long"),
        ("bomb?bytes=67108864", "unpacks to more than that"),
    ],
)
async def test_a_body_that_is_too_large_ends_early(hostile: HostileServer, route: str, told: str) -> None:
    with pytest.raises(HttpError, match=rf"{told}.*the limit is 1,000,000 bytes") as caught:
        await fetch(f"{hostile.url}/{route}", max_body_bytes=1_000_000)
    assert "max_body_bytes" in (caught.value.help or "")
    assert len(hostile.hits) == 1


async def test_a_body_as_large_as_the_limit_is_taken(hostile: HostileServer) -> None:
    size = len(json.dumps(ITEMS))
    await fetch(hostile.url + "/gzip", max_body_bytes=size)
    with pytest.raises(HttpError, match="unpacks to more"):
        await fetch(hostile.url + "/gzip", max_body_bytes=size - 1)


async def test_an_encoding_nobody_asked_for(hostile: HostileServer) -> None:
    with pytest.raises(HttpError, match="compressed as 'br', which was not asked for"):
        await fetch(hostile.url + "/brotli")


async def test_a_header_that_http_cannot_carry(hostile: HostileServer) -> None:
    with pytest.raises(FatalError, match="the request cannot be sent"):
        await fetch(hostile.url, headers={"X-A": "a\r\nX-B: b"})


# Redirects.


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"),
        (308, "POST", "POST"), (301, "PUT", "PUT"), (302, "DELETE", "DELETE"), (302, "GET", "GET"), (303, "HEAD", "HEAD"),
    ],
)  # fmt: skip
async def test_the_method_after_a_redirect(hostile: HostileServer, status: int, method: str, then: str) -> None:
    headers = {"Content-Type": "text/csv", "X-A": "1"}
    body = b"a" if method in {"POST", "PUT"} else None
    response = await Driver(hostile.url).send(
        f"{hostile.url}/redirect?to=/end%3Fx%3D1&status={status}", method, body=body, headers=headers
    )
    assert response.url == hostile.url + "/end?x=1"
    sent = Headers.of(hostile.last.headers)
    assert (hostile.last.method, hostile.last.raw_path) == (then, "/end?x=1")
    if body is not None:
        assert (hostile.last.body, sent.get("Content-Type")) == ((body, "text/csv") if then == method else (b"", None))
    assert sent["X-A"] == "1"


async def test_redirects_come_to_an_end(hostile: HostileServer) -> None:
    with pytest.raises(HttpError, match=r"redirects more than 4 times: .*/loop.n=2 → .*n=3 → .*n=4"):
        await fetch(hostile.url + "/loop", max_redirects=4)
    assert len(hostile.hits) == 5


async def test_a_body_goes_to_no_other_server(hostile: HostileServer) -> None:
    url = f"{hostile.url}/redirect?status=307&to={hostile.other_url}/x"
    with pytest.raises(AddressRefused, match="redirects a request with a body to another server"):
        await Driver(hostile.url).send(url, "POST", body=b"data")
    assert len(hostile.hits) == 1
    await Driver(hostile.url, allow_hosts=["127.0.0.1"]).send(url, "POST", body=b"data")
    assert hostile.last.body == b"data"


# Places.

REFUSED = [
    ("http://169.254.169.254/latest/meta-data", "metadata service"),
    ("http://169.254.1.2/", "link-local"),
    ("http://2852039166/", "169.254.169.254"),
    ("http://0xa9fea9fe/", "169.254.169.254"),
    ("http://0251.0376.0251.0376/", "169.254.169.254"),
    ("http://169.254.43518/", "169.254.169.254"),
    ("http://[::ffff:169.254.169.254]/", "metadata service"),
    ("http://[::ffff:a9fe:a9fe]/", "metadata service"),
    ("http://[64:ff9b::a9fe:a9fe]/", "metadata service"),
    ("http://[2002:a9fe:a9fe::1]/", "metadata service"),
    ("http://[fe80::1]/", "link-local"),
    ("http://[fd00:ec2::254]/", "metadata service"),
    ("http://100.100.100.200/", "metadata service"),
    ("http://metadata.google.internal/computeMetadata/v1/", "metadata service"),
    ("http://METADATA.google.internal./", "metadata service"),
    ("file:///etc/passwd", "only http:// and https://"),
    ("ftp://127.0.0.1/x", "only http:// and https://"),
    ("gopher://127.0.0.1/x", "only http:// and https://"),
]


@pytest.mark.parametrize(("url", "told"), REFUSED)
async def test_places_that_must_not_be_reached(hostile: HostileServer, url: str, told: str) -> None:
    driver = Driver(hostile.url)
    with pytest.raises(AddressRefused, match=told):
        await driver.send(url)  # as a next link
    # As a redirect, which is followed by hand.
    with pytest.raises(AddressRefused, match=rf"(?s)redirected from .*/redirect.*{told}"):
        await driver.send(str(URL(hostile.url + "/redirect").with_query(to=url)))
    assert [hit.path for hit in hostile.hits] == ["/redirect"]
    assert driver.waits.slept == []


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and the addresses they stand for; the first one goes with each look-up while there are more."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        addresses = known.get(host)
        if addresses is None:
            return real(host, port, *args, **kwargs)
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return real(address, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


async def test_names_are_judged_by_what_they_stand_for(hostile: HostileServer, names: dict[str, list[str]]) -> None:
    names["innocent.test"] = ["169.254.169.254"]
    names["six.test"] = ["::ffff:169.254.169.254"]
    for name in names:
        with pytest.raises(AddressRefused, match=rf"{name} \(.*\) is a cloud metadata service"):
            await fetch(f"http://{name}/")


async def test_a_name_that_changes_its_address(hostile: HostileServer, names: dict[str, list[str]]) -> None:
    port = URL(hostile.url).port
    # Good when it is checked, bad when the next connection is made (the first connection is closed by the server).
    names["rebind.test"] = ["127.0.0.1", "169.254.169.254"]
    hostile.script("/x", Answer(headers={"Connection": "close"}))
    driver = Driver(f"http://rebind.test:{port}/x")
    assert (await driver.send()).status == 200
    with pytest.raises(AddressRefused, match=r"rebind.test .* metadata service"):
        await driver.send()
    assert len(hostile.hits) == 1


async def test_what_is_allowed_by_name(hostile: HostileServer, names: dict[str, list[str]]) -> None:
    port = URL(hostile.url).port
    names["inside.corp.test"] = ["127.0.0.1"]
    for allowed in (["inside.corp.test"], ["*.corp.test"], ["127.0.0.0/8"], ["127.0.0.1"]):
        await fetch(f"http://inside.corp.test:{port}/", public_only=True, allow_hosts=allowed)
    with pytest.raises(AddressRefused, match=r"inside.corp.test \(127.0.0.1\) is not a public address"):
        await fetch(f"http://inside.corp.test:{port}/", public_only=True, allow_hosts=["other.test", "10.0.0.0/8"])
    assert len(hostile.hits) == 4


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://10.1.2.3/", "http://192.168.0.1/", "http://[::1]/", "http://0.0.0.0/",
            "http://100.64.0.1/", "http://[fc00::1]/", "http://[::ffff:10.0.0.1]/", "http://127.1/", "http://2130706433/"]
)  # fmt: skip
def test_public_places_only(url: str) -> None:
    Reach().check_url(URL(url))
    with pytest.raises(AddressRefused, match="is not a public address"):
        Reach(public_only=True).check_url(URL(url))


def test_public_places_may_be_reached() -> None:
    for url in (
        "http://93.184.216.34/",
        "https://[2606:2800:220:1::1]/",
        "http://1.1.1.1:8080/",
        "http://12monkeys.org/",
    ):
        Reach(public_only=True).check_url(URL(url))
    Reach(["169.254.169.254"]).check_url(URL("http://[::ffff:169.254.169.254]/"))
    Reach(["metadata.google.internal"]).check_url(URL("http://metadata.google.internal/"))


async def test_the_proxy_of_the_environment(hostile: HostileServer) -> None:
    driver = Driver("http://shop.example/things")
    driver.environ = {"HTTP_PROXY": hostile.other_url, "no_proxy": "localhost, .internal.example"}
    await driver.send()
    assert hostile.last.headers["Host"] == "shop.example"
    assert hostile.last.port == URL(hostile.other_url).port
    with pytest.raises(GaveUp, match=r"api.internal.example cannot be resolved"):
        await driver.send("http://api.internal.example/")
    with pytest.raises(AddressRefused):
        await driver.send("http://169.254.169.254/")
    assert len(hostile.hits) == 1


# TLS (H12).


async def test_a_certificate_nobody_trusts(hostile: HostileServer) -> None:
    with pytest.raises(HttpNotTrusted, match=r"the certificate of 127.0.0.1:.* is not trusted: self-signed") as caught:
        await fetch(hostile.tls_url)
    assert "ca_file" in (caught.value.help or "")
    assert caught.value.exit_code == 6
    assert hostile.hits == []


async def test_a_certificate_that_is_trusted_by_option(hostile: HostileServer, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(hostile.ca_file.read_bytes())
    await Driver(hostile.tls_url, tmp_path, ca_file="ca.pem").send()
    await fetch(hostile.tls_url, verify_tls=False)
    assert len(hostile.hits) == 2
    with pytest.raises(FatalError, match=r"ca_file .*missing.pem cannot be read"):
        await Driver(hostile.tls_url, tmp_path, ca_file="missing.pem").send()


async def test_a_server_without_tls(hostile: HostileServer) -> None:
    with pytest.raises(HttpNotTrusted, match="does not speak TLS") as caught:
        await fetch(hostile.url.replace("http:", "https:"))
    assert "http://" in (caught.value.help or "")
