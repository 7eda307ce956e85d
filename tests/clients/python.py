"""Python's http.client, httpx and websockets: python.py NAME."""

import asyncio
import hashlib
import http.client
import json
import os
import ssl
import sys
from urllib.parse import urlsplit

PLAIN, SECURE, KEY = os.environ["PLAIN"], os.environ["SECURE"], os.environ["KEY"]
TLS = ssl.create_default_context(cafile=os.environ["CERTIFICATE"])
BODY = bytes(at * 7 % 251 for at in range(200_000))
SUM = hashlib.sha256(BODY).hexdigest()


def same(found, wanted):
    assert found == wanted, f"{found!r}, not {wanted!r}"


def standard_library():
    for base in (PLAIN, SECURE):
        place = urlsplit(base)
        if place.scheme == "https":
            connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=60, context=TLS)
        else:
            connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)

        def request(method, path, body=None, headers=None):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer, answer.read()

        answer, got = request("GET", "/echo/a?b=c")
        same((answer.status, json.loads(got)["target"]), (200, "/echo/a?b=c"))
        socket = connection.sock
        for body in (BODY, iter([BODY[:5], BODY[5:]])):
            answer, got = request("POST", "/echo/x", body)
            same((answer.status, json.loads(got)["body"]["sha256"]), (200, SUM))
        answer, got = request("HEAD", "/echo/x")
        same((answer.status, got), (200, b""))
        answer, got = request("GET", "/bytes/300000")
        same((answer.status, len(got)), (200, 300_000))
        answer, got = request("GET", "/admin/echo/x")
        same((answer.status, json.loads(got)["status"]), (401, 401))
        answer, _ = request("GET", "/admin/echo/x", headers={"apikey": KEY})
        same(answer.status, 200)
        assert connection.sock is socket, "the connection was not kept"
        connection.close()


def httpx_client():
    import httpx

    for base, http2 in ((PLAIN, False), (PLAIN, True), (SECURE, False), (SECURE, True)):
        version = "HTTP/2" if http2 else "HTTP/1.1"
        with httpx.Client(http1=not http2, http2=http2, verify=TLS, trust_env=False, timeout=60) as client:
            answer = client.get(f"{base}/echo/a?b=c")
            same((answer.status_code, answer.http_version, answer.json()["target"]), (200, version, "/echo/a?b=c"))
            for content in (BODY, iter([BODY[:5], BODY[5:]])):
                answer = client.post(f"{base}/echo/x", content=content)
                same((answer.status_code, answer.json()["body"]["sha256"]), (200, SUM))
            same(len(client.get(f"{base}/bytes/300000").content), 300_000)
            answer = client.get(f"{base}/admin/echo/x")
            same((answer.status_code, answer.json()["status"]), (401, 401))
            same(client.get(f"{base}/admin/echo/x", headers={"apikey": KEY}).status_code, 200)
            same(client.get(f"{base}/gzip").headers["content-encoding"], "gzip")


async def sockets():
    import websockets

    for base, tls in ((PLAIN, None), (SECURE, TLS)):
        async with websockets.connect(f"ws{base[4:]}/ws", ssl=tls, open_timeout=60) as socket:
            for message in ("text", "", BODY[:60_000], "é" * 1000):
                await socket.send(message)
                same(await asyncio.wait_for(socket.recv(), 60), message)
            await asyncio.wait_for(await socket.ping(), 60)
        same(socket.close_code, 1000)
        try:
            async with websockets.connect(f"ws{base[4:]}/admin/ws", ssl=tls):
                raise AssertionError("a WebSocket without a key")
        except websockets.InvalidStatusCode as refused:
            same(refused.status_code, 401)


name = sys.argv[1]
if name == "http.client":
    standard_library()
elif name == "httpx":
    httpx_client()
else:
    asyncio.run(sockets())
print(f"Python: {name}")
