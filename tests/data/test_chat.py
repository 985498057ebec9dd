"""The chat endpoint, against a real server on the loopback address."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lethe.data import chat
from lethe.data.chat import endpoint, found_object
from lethe.errors import InputError

ASKED = [{"role": "user", "content": "Hello?"}]
SECRET = "sk-not-to-be-seen"

Reply = tuple[int, dict[str, str], bytes]
Answering = Callable[[int, dict[str, Any]], Reply]


def completion(text: object) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}).encode()


@contextmanager
def serving(answer: Answering) -> Iterator[tuple[str, list[tuple[str, dict[str, str], Any]]]]:
    """A server that answers the nth request by `answer(n, body)`; its address, and what it was asked."""
    seen: list[tuple[str, dict[str, str], Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, dict(self.headers), body))
            status, headers, content = answer(len(seen) - 1, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # nobody waits any more
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "FIRST_PAUSE", 0.01)


def failure(answer: Answering, retries: int = 0, timeout: float = 5.0) -> tuple[str, int]:
    """The sentence that an answer leads to, and how often the server was asked."""
    with serving(answer) as (url, seen), pytest.raises(InputError) as told:
        endpoint(url, "tester", timeout=timeout, retries=retries).ask(ASKED)
    sentence = str(told.value)
    assert "\n" not in sentence and sentence.endswith((".", "?"))
    return sentence, len(seen)


def test_the_answer_comes_back_and_the_request_is_that_of_the_protocol(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AN_API_KEY", SECRET)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # the loopback address needs none
    with serving(lambda *_: (200, {}, completion("Good day, Zoë."))) as (url, seen):
        for address in (url, url + "/", url + "/chat/completions"):
            asked = endpoint(address, "tester", key_env="AN_API_KEY")
            assert asked.ask(ASKED, temperature=1.0) == "Good day, Zoë."
        assert SECRET not in repr(asked)
        endpoint(url, "tester").ask(ASKED)
    assert [path for path, _, _ in seen] == ["/v1/chat/completions"] * 4
    assert [headers.get("Authorization") for _, headers, _ in seen] == [f"Bearer {SECRET}"] * 3 + [None]
    assert seen[0][2] == {"model": "tester", "messages": ASKED, "temperature": 1.0}


def test_what_passes_is_tried_again():
    replies: list[Reply] = [(503, {}, b""), (429, {"Retry-After": "0"}, b""), (200, {}, completion("at last"))]
    with serving(lambda count, _: replies[count]) as (url, seen):
        assert endpoint(url, "tester", retries=2).ask(ASKED) == "at last"
    assert len(seen) == 3
    sentence, count = failure(lambda *_: (503, {}, b""), retries=2)
    assert "answers with status 503, in 3 tries" in sentence
    assert count == 3


def test_a_refusal_is_not_tried_again():
    for status in (400, 401, 404):
        sentence, count = failure(lambda *_, status=status: (status, {}, SECRET.encode()), retries=3)
        assert f"answers with status {status}; check address, model and key" in sentence
        assert SECRET not in sentence
        assert count == 1


def test_no_redirect_is_followed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AN_API_KEY", SECRET)
    with (
        serving(lambda *_: (200, {}, completion("elsewhere"))) as (other, reached),
        serving(lambda *_: (302, {"Location": f"{other}/chat/completions"}, b"")) as (url, _),
        pytest.raises(InputError, match="status 302"),
    ):
        endpoint(url, "tester", key_env="AN_API_KEY").ask(ASKED)
    assert not reached


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>busy</html>", "does not answer with JSON"),
        (b"", "does not answer with JSON"),
        (b"\xff\xfe", "does not answer with JSON"),
        (b"[]", "without a text at choices"),
        (b'{"choices": []}', "without a text at choices"),
        (b'{"error": {"message": "no such model"}}', "without a text at choices"),
        (completion(None), "without a text at choices"),
        (completion(["a", "list"]), "without a text at choices"),
        (completion("  "), "without a text at choices"),
        (b" " * (chat.BYTES + 1), "more than 1048576 bytes"),
    ],
)
def test_a_malformed_reply_is_one_sentence(body: bytes, told: str):
    assert told in failure(lambda *_: (200, {}, body))[0]


def test_silence_and_a_trickle_end_in_time():
    stop = threading.Event()

    def silent(*_: Any) -> Reply:
        stop.wait(3)
        return 200, {}, completion("late")

    start = time.monotonic()
    sentence, count = failure(silent, retries=1, timeout=0.1)
    assert "within 0.1 s, in 2 tries" in sentence
    assert count == 2
    assert time.monotonic() - start < 2.5
    stop.set()

    listener = socket.create_server(("127.0.0.1", 0))

    def trickle() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            for _ in range(100):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return
                time.sleep(0.02)

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    with listener, pytest.raises(InputError, match=r"no whole answer within 0\.2 s"):
        endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", "tester", timeout=0.2, retries=0).ask(ASKED)


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(InputError, match=r"cannot be reached \(ConnectionRefusedError\), in 2 tries"):
        endpoint(f"http://127.0.0.1:{port}/v1", "tester", retries=1).ask(ASKED)


def test_addresses_keys_and_numbers_are_checked_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch):
    for url in ("", "localhost:8000", "ftp://127.0.0.1", "file:///etc/hosts", "http://", "http://[", "http://a:port"):
        with pytest.raises(InputError, match="is no address of a chat endpoint"):
            endpoint(url, "tester")
    for url in ("http://me:secret@127.0.0.1", "https://example.org/v1?key=secret"):
        with pytest.raises(InputError, match="no name, password, query") as told:
            endpoint(url, "tester")
        assert "secret" not in str(told.value)
    with pytest.raises(InputError, match="say which"):
        endpoint("http://127.0.0.1", "")
    for timeout, retries in ((0.0, 1), (-1.0, 1), (float("inf"), 1), (float("nan"), 1), (1.0, -1)):
        with pytest.raises(InputError, match="give a time above 0"):
            endpoint("http://127.0.0.1", "tester", timeout=timeout, retries=retries)
    monkeypatch.delenv("AN_API_KEY", raising=False)
    with pytest.raises(InputError, match="'AN_API_KEY' is to hold the key"):
        endpoint("http://127.0.0.1", "tester", key_env="AN_API_KEY")
    for key in ("two\r\nlines", "Schlüssel"):
        monkeypatch.setenv("AN_API_KEY", key)
        with pytest.raises(InputError, match="to hold the key") as told:
            endpoint("http://127.0.0.1", "tester", key_env="AN_API_KEY")
        assert key not in str(told.value)
    monkeypatch.setenv("AN_API_KEY", SECRET)
    with pytest.raises(InputError, match="unencrypted"):
        endpoint("http://example.org/v1", "tester", key_env="AN_API_KEY")


def test_an_object_is_found_in_talk():
    fenced = 'Sure {question}!\n```json\n{"prompt": "a {question}"}\n```'
    assert found_object(fenced, "prompt") == {"prompt": "a {question}"}
    assert found_object('{"other": {"prompt": "inner"}}', "prompt") == {"prompt": "inner"}
    assert found_object('{"prompt": "two\nlines"}', "prompt") == {"prompt": "two\nlines"}
    for text in ("", "no object", '{"other": 1}', '{"prompt": ', "[1, 2]", "{" * 5000, '[{"a":' * 3000):
        assert found_object(text, "prompt") is None
