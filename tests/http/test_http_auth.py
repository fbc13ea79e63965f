"""Credentials: where they go, where they never go, tokens that are renewed, and that no message shows them (H4)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hostile_server import ITEMS, Answer, HostileServer
from http_client_driving import Driver, fetch
from pydantic import ValidationError
from yarl import URL

from etlctl.errors import FatalError, GaveUp
from etlctl.kit.http.auth import Authenticator
from etlctl.kit.http.failures import HttpAccessDenied, HttpError, Wording, is_secret_name
from etlctl.kit.http.message import Headers, Request, Response
from etlctl.kit.http.options import HttpOptions
from etlctl.kit.http.pacing import Pacing

SECRET = "c4nary/s3cr3t+value"


def oauth(hostile: HostileServer, query: str = "", **more: Any) -> dict[str, Any]:
    return {
        "type": "oauth2_client_credentials",
        "token_url": f"{hostile.url}/oauth/token{query}",
        "client_id": "me:too",
        "client_secret": SECRET,
        **more,
    }


@pytest.mark.parametrize(
    ("path", "auth"),
    [
        ("/bearer?token=tok", {"type": "bearer", "token": "tok"}),
        ("/basic?user=u&password=p:x", {"type": "basic", "username": "u", "password": "p:x"}),
        ("/key?name=X-API-Key&value=k", {"type": "api_key", "key": "k"}),
        ("/key?name=apikey&value=a%20b&in=query", {"type": "api_key", "key": "a b", "name": "apikey", "location": "query"}),
    ],
)  # fmt: skip
async def test_credentials_arrive(hostile: HostileServer, path: str, auth: dict[str, str]) -> None:
    response = await fetch(hostile.url + path, auth=auth)
    assert json.loads(response.body) == ITEMS
    assert response.url == str(URL(hostile.url + path))  # without the key
    with pytest.raises(HttpAccessDenied, match="HTTP error 401"):
        await fetch(hostile.url + path)


async def test_credentials_in_the_url(hostile: HostileServer) -> None:
    url = hostile.url.replace("//", f"//u:{SECRET.replace('/', '%2F')}@")
    response = await fetch(f"{url}/basic?user=u&password={SECRET.replace('+', '%2B')}")
    assert json.loads(response.body) == ITEMS
    assert SECRET not in response.url
    assert "@" not in response.url


@pytest.mark.parametrize("location", ["header", "query"])
async def test_credentials_never_leave_their_server(hostile: HostileServer, location: str) -> None:
    key = {"type": "api_key", "key": SECRET, "name": "k", "location": location}
    for auth in (key, {"type": "bearer", "token": SECRET}, oauth(hostile), None):
        hostile.reset()
        driver = Driver(hostile.url, auth=auth, headers={"X-Mine": SECRET, "Cookie": SECRET, "Accept": "a/b"})
        driver.home = hostile.url.replace("//", f"//u:{SECRET.replace('/', '%2F')}@") if auth is None else hostile.url
        async with driver.client() as client:
            await client.send(Request("GET", f"{hostile.url}/redirect?to={hostile.other_url}/r", {"X-Own": SECRET}))
            await client.send(Request("GET", f"{hostile.other_url}/next", {"X-Own": SECRET, "Authorization": SECRET}))
            await client.send(Request("GET", f"{hostile.other_url}/redirect?to={hostile.url}/back"))
        strange = [hit for hit in hostile.hits if str(hit.port) in hostile.other_url]
        assert [hit.path for hit in strange] == ["/r", "/next", "/redirect"]
        for hit in strange:
            assert "c4nary" not in repr(hit)
            assert not {"authorization", "cookie", "x-mine", "x-own"} & {name.lower() for name in hit.headers}
        assert strange[0].headers["Accept"] == "a/b" or Headers.of(strange[0].headers)["Accept"] == "*/*"
        assert Headers.of(hostile.last.headers)["X-Mine"] == SECRET  # back at home


async def test_a_key_that_the_server_puts_into_links_is_taken_out(hostile: HostileServer) -> None:
    auth = {"type": "api_key", "key": SECRET, "name": "k", "location": "query"}
    driver = Driver(hostile.url, auth=auth)
    async with driver.client() as client:
        assert client.clean_url(f"http://u:p@h/x?a=1&k={SECRET}&b=2") == "http://h/x?a=1&b=2"
        await client.send(Request("GET", f"{hostile.url}/x?k=old"))
    assert hostile.last.query == {"k": SECRET}


# OAuth 2.


async def test_one_token_for_many_requests(hostile: HostileServer) -> None:
    driver = Driver(hostile.url, auth=oauth(hostile, scope="a b", token_params={"audience": "x"}))
    async with driver.client() as client:
        requests = [client.send(Request("GET", f"{hostile.url}/secured?{n}")) for n in range(8)]
        assert all(json.loads(found.body) == ITEMS for found in await asyncio.gather(*requests))
    asked = next(hit for hit in hostile.hits if hit.path == "/oauth/token")
    assert hostile.count("/oauth/token") == 1
    assert asked.form == {"grant_type": "client_credentials", "scope": "a b", "audience": "x"}
    # user name and password are form-encoded first: me%3Atoo:c4nary%2Fs3cr3t%2Bvalue
    assert asked.headers["Authorization"] == "Basic bWUlM0F0b286YzRuYXJ5JTJGczNjcjN0JTJCdmFsdWU="


async def test_the_client_may_show_itself_in_the_body(hostile: HostileServer) -> None:
    await fetch(hostile.url + "/secured", auth=oauth(hostile, client_auth="body"))
    assert (hostile.hits[0].form["client_id"], hostile.hits[0].form["client_secret"]) == ("me:too", SECRET)
    assert "Authorization" not in hostile.hits[0].headers


async def test_a_token_is_renewed_before_it_ends(hostile: HostileServer) -> None:
    driver = Driver(hostile.url, auth=oauth(hostile, "?expires_in=100"))
    async with driver.client() as client:
        for waits in (0, 69, 2, 0):
            await driver.waits.sleep(waits)
            await client.send(Request("GET", hostile.url + "/secured"))
    assert [hit.path for hit in hostile.hits].index("/oauth/token", 1) == 3
    assert hostile.count("/oauth/token") == 2


async def test_a_401_renews_the_token_once_for_all(hostile: HostileServer) -> None:
    driver = Driver(hostile.url, auth=oauth(hostile))
    async with driver.client() as client:
        await client.send(Request("GET", hostile.url + "/secured"))
        hostile.revoke()
        requests = [client.send(Request("POST", f"{hostile.url}/secured?{n}", body=b"x")) for n in range(5)]
        await asyncio.gather(*requests)
    assert hostile.count("/oauth/token") == 2
    assert driver.waits.slept == []


async def test_a_401_that_stays_ends_the_run(hostile: HostileServer) -> None:
    with pytest.raises(HttpAccessDenied, match="HTTP error 401"):
        await fetch(hostile.url + "/status/401", auth=oauth(hostile))
    assert (hostile.count("/status/401"), hostile.count("/oauth/token")) == (2, 2)


async def test_a_refresh_token(hostile: HostileServer) -> None:
    auth = oauth(hostile, "?rotate=1&expires_in=10", type="oauth2_refresh_token", refresh_token=SECRET)
    driver = Driver(hostile.url, auth=auth)
    async with driver.client() as client:
        for _ in range(3):
            await client.send(Request("GET", hostile.url + "/secured"))
            await driver.waits.sleep(11)
    used = [hit.form["refresh_token"] for hit in hostile.hits if hit.path == "/oauth/token"]
    assert used == [SECRET, "refresh-token-1", "refresh-token-2"]
    assert len(driver.warned) == 1
    assert "gave a new refresh token" in driver.warned[0]


async def test_a_token_that_is_not_given(hostile: HostileServer) -> None:
    with pytest.raises(HttpAccessDenied, match=r"no token: HTTP error 400 .*invalid_client") as caught:
        await fetch(hostile.url + "/secured", auth=oauth(hostile, "?status=400"))
    assert caught.value.exit_code == 6
    with pytest.raises(GaveUp, match="no token: HTTP error 503"):
        await Driver(hostile.url, auth=oauth(hostile, "?status=503")).send(hostile.url + "/secured", "POST", body=b"x")
    assert (hostile.count("/secured"), hostile.count("/oauth/token")) == (0, 4)


@pytest.mark.parametrize(
    "told", [b"<html>", b"[]", b"{}", b'{"access_token": 1}', b'{"access_token":"t","token_type":"mac"}']
)
async def test_a_token_that_is_none(hostile: HostileServer, told: bytes) -> None:
    hostile.script("/oauth/token", Answer(body=told))
    with pytest.raises(HttpError, match=r"answered no (bearer )?token"):
        await fetch(hostile.url + "/secured", auth=oauth(hostile))


async def test_the_token_server_is_reached_like_any_other(hostile: HostileServer) -> None:
    hostile.script("/oauth/token", Answer(307, headers={"Location": hostile.other_url + "/steal"}))
    with pytest.raises(HttpAccessDenied, match="HTTP error 307"):
        await fetch(hostile.url + "/secured", auth=oauth(hostile))
    auth = oauth(hostile, token_url="https://169.254.169.254/token")
    with pytest.raises(FatalError, match="metadata service"):
        await fetch(hostile.url + "/secured", auth=auth)
    assert len(hostile.hits) == 1


def test_a_token_server_without_encryption_is_refused() -> None:
    with pytest.raises(ValidationError, match="must begin with https://"):
        HttpOptions.model_validate({"auth": {"type": "oauth2_client_credentials", "token_url": "http://idp.example/t",
                                             "client_id": "a", "client_secret": "b"}})  # fmt: skip


async def test_no_token_for_a_place_that_must_not_be_reached(hostile: HostileServer) -> None:
    with pytest.raises(FatalError, match="metadata service"):
        await fetch("http://169.254.169.254/", auth=oauth(hostile))
    assert hostile.hits == []


async def test_a_late_401_does_not_cost_the_new_token(hostile: HostileServer) -> None:
    issued = iter(range(1, 9))

    async def send(request: Request) -> Response:
        return Response(200, request.url, Headers(), json.dumps({"access_token": f"token-{next(issued)}"}).encode())

    auth = HttpOptions.model_validate({"auth": oauth(hostile)}).auth
    authenticator = Authenticator(auth, send=send, wording=Wording(), pacing=Pacing(), warn=print)
    first = (await authenticator.apply(URL("http://h/"), Headers()))[2]
    authenticator.refused(first)
    second = (await authenticator.apply(URL("http://h/"), Headers()))[2]
    authenticator.refused(first)  # of a request that was under way all the time
    assert (first, second) == ("token-1", "token-2")
    assert (await authenticator.apply(URL("http://h/"), Headers()))[2] == second


# What is shown.


@pytest.mark.parametrize("path", ["/status/500", "/status/400", "/trickle", "/disconnect", "/huge?bytes=9999999", "/loop",
                                  "/redirect?to=http://169.254.169.254/", "/redirect?to=file:///x"])  # fmt: skip
async def test_no_message_shows_a_secret(hostile: HostileServer, path: str) -> None:
    encoded = SECRET.replace("/", "%2F").replace("+", "%2B")
    options = {"retry": {"deadline": 0.1, "max_attempts": 2, "backoff_factor": 0}, "max_body_bytes": 1000}
    joined = f"{hostile.url}{path}{'&' if '?' in path else '?'}"
    tries: list[tuple[dict[str, Any], str, str]] = [
        ({"auth": {"type": "api_key", "key": SECRET, "name": "k", "location": "query"}}, f"{joined}body={encoded}", ""),
        ({"auth": {"type": "basic", "username": "u", "password": SECRET}}, f"{joined}body={encoded}", ""),
        ({"auth": oauth(hostile)}, f"{joined}body={encoded}", ""),
        ({"headers": {"X-Api-Key": SECRET}}, f"{joined}body={encoded}", ""),
        ({}, f"{joined}access_token={encoded}", ""),
        ({}, joined, hostile.url.replace("//", f"//u:{encoded}@")),
    ]
    for more, url, home in tries:
        with pytest.raises((FatalError, GaveUp)) as caught:
            await fetch(url, home=home or hostile.url, **options, **more)
        shown = f"{caught.value} {caught.value.help} {caught.value!r}"
        assert "c4nary" not in shown, shown
        assert path.partition("?")[0] in shown or "169.254" in shown


def test_secrets_are_known_by_their_names() -> None:
    for name in ("api_key", "apikey", "access_token", "X-Auth-Token", "Authorization", "sig", "X-Amz-Signature", "key"):
        assert is_secret_name(name), name
    for name in ("pageToken", "next_page_token", "primary_key", "keyword", "page", "cursor", "design"):
        assert not is_secret_name(name), name
    wording = Wording(["hunter22"])
    assert wording.url("http://u:p@h/x?a=1&token=abc&b=hunter22#f") == "http://h/x?a=1&token=***&b=***"


def test_reprs_show_no_values() -> None:
    request = Request("GET", f"http://h/?k={SECRET}", {"Authorization": SECRET}, SECRET.encode())
    response = Response(
        200, f"http://h/?k={SECRET}", Headers([("Set-Cookie", SECRET)]), SECRET.encode(), request=request
    )
    options = HttpOptions.model_validate({"headers": {"a": SECRET}, "auth": {"type": "bearer", "token": SECRET}})
    assert "c4nary" not in repr((request, response, response.headers, options))
