"""The process: real sockets, and signals that end it in good order."""

import json
import signal
import socket
import threading
import time
import urllib.request
from urllib.parse import urlsplit

from serve.clients import events, serving


def request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def open_stream(url: str, body: bytes):
    return urllib.request.urlopen(
        urllib.request.Request(f"{url}/v1/stream", body, {"Content-Type": "application/json"})
    )


def test_a_socket_that_closes_frees_its_row(make_app):
    app = make_app(rows=1)
    with serving(app) as (_, url):
        where = urlsplit(url)
        decoder = app.state.shelf.find(None).decoder
        with socket.create_connection((where.hostname, where.port)) as client:
            client.sendall(request("/v1/stream", json.dumps({"tokens": 8000}).encode()))
            while b"event: note" not in client.recv(1 << 16):
                pass
            assert decoder.running == 1
        deadline = time.monotonic() + 1
        while decoder.running and time.monotonic() < deadline:
            time.sleep(0.005)
        assert decoder.running == 0


def test_the_first_signal_lets_requests_end_and_the_second_does_not_wait(make_app):
    body = json.dumps({"tokens": 1500, "seed": 1}).encode()
    app = make_app()
    with serving(app) as (server, url):
        answer = urllib.request.urlopen(
            urllib.request.Request(f"{url}/v1/stream", body, {"Content-Type": "application/json"})
        )
        first = answer.readline()
        server.handle_exit(signal.SIGTERM, None)
        assert server.should_exit
        assert not server.force_exit
        assert events((first + answer.read()).decode())[-1][0] == "end"
    with serving(make_app(tokens=100_000)) as (server, url):
        body = body.replace(b"1500", b"90000")
        answer = urllib.request.urlopen(
            urllib.request.Request(f"{url}/v1/stream", body, {"Content-Type": "application/json"})
        )
        answer.readline()
        rest: list[str] = []
        reading = threading.Thread(target=lambda: rest.append(answer.read().decode()), daemon=True)
        reading.start()
        server.handle_exit(signal.SIGINT, None)
        server.handle_exit(signal.SIGINT, None)
        assert server.force_exit
        reading.join(30)
        assert not reading.is_alive()
