"""A chat model behind an OpenAI-compatible endpoint: one question, one answer, or one sentence that says why not.

The key is read from an environment variable and stands in no message, option, file or representation. Redirects are not
followed, since they would carry it elsewhere.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from lethe.errors import InputError

BYTES = 1 << 20  # of a reply
LOOKED = 1 << 13  # characters of a text that are searched for an object
FIRST_PAUSE = 0.5  # seconds before the second try; each further one doubles it
PASSING = {408, 425, 429, 500, 502, 503, 504}  # states that another try may find changed
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Endpoint:
    """Where a chat model answers.

    Args:
        url: Base address, as in http://127.0.0.1:8000/v1.
        model: The model's name there.
        key: What authorises the caller; "" where nobody asks.
        timeout: Seconds that one answer may take, and that any wait within it may.
        retries: Further tries where the endpoint cannot be reached, is overloaded, or is too slow.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    retries: int = 2

    def ask(self, messages: Sequence[Mapping[str, str]], **settings: Any) -> str:
        """The text of the model's answer.

        Args:
            messages: Mappings with role and content.
            **settings: Further fields of the request, such as temperature.

        Raises:
            InputError: If there is no answer in time, a refusal, or a reply that is no chat completion.
        """
        body = json.dumps({"model": self.model, "messages": list(messages), **settings}).encode()
        return _content(self._posted(body), self.url)

    def _posted(self, body: bytes) -> bytes:
        told = ""
        for attempt in range(self.retries + 1):
            try:
                return self._once(body)
            except urllib.error.HTTPError as error:
                told, asked = f"answers with status {error.code}", error.headers.get("Retry-After", "")
                error.close()
                if error.code not in PASSING:
                    raise InputError(f"The chat endpoint {self.url} {told}; check address, model and key.") from None
            except TimeoutError:
                told, asked = f"gives no whole answer within {self.timeout:g} s", ""
            except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
                reason = getattr(error, "reason", error)
                if isinstance(reason, TimeoutError):
                    told, asked = f"gives no answer within {self.timeout:g} s", ""
                else:
                    told, asked = f"cannot be reached ({type(reason).__name__})", ""
            if attempt < self.retries:
                pause = float(asked) if asked.isdigit() else FIRST_PAUSE * 2**attempt
                time.sleep(min(pause, self.timeout))
        tries = f"{self.retries + 1} tries" if self.retries else "one try"
        raise InputError(f"The chat endpoint {self.url} {told}, in {tries}; see that it runs, or allow more time.")

    def _once(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.url}/chat/completions", body, headers)
        end = time.monotonic() + self.timeout
        near = [urllib.request.ProxyHandler({})] if urlsplit(self.url).hostname in LOOPBACK else []
        with urllib.request.build_opener(_Staying, *near).open(request, timeout=self.timeout) as reply:
            read = b""
            while part := reply.read1(1 << 16):
                read += part
                if len(read) > BYTES:
                    raise InputError(f"The chat endpoint {self.url} answers with more than {BYTES} bytes; check it.")
                if time.monotonic() > end:
                    raise TimeoutError
        return read


class _Staying(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key is meant for one address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def endpoint(url: str, model: str, *, key_env: str = "", timeout: float = 60.0, retries: int = 2) -> Endpoint:
    """The endpoint at an address, checked before anything is sent.

    Args:
        url: Base address, as in http://127.0.0.1:8000/v1, without name, password or query: it stands in reports.
        model: The model's name there.
        key_env: Name of the environment variable that holds the key; "" where none is needed.
        timeout: Seconds that one answer may take.
        retries: Further tries.

    Raises:
        InputError: If the address is none, the key is missing or would be sent unencrypted over a network, or a number
            is out of range.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{url!r} is no address of a chat endpoint; give one as in http://127.0.0.1:8000/v1.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            "The address of a chat endpoint stands in reports, so it may hold no name, password, query or fragment; "
            "give a key by the name of an environment variable."
        )
    if not model:
        raise InputError(f"The chat endpoint {url} serves models by name; say which.")
    if not 0 < timeout < float("inf") or retries < 0:
        raise InputError(f"timeout is {timeout:g} s with {retries} retries; give a time above 0 and 0 or more retries.")
    key = os.environ.get(key_env, "") if key_env else ""
    if key_env and not (key and key.isascii() and key.isprintable()):
        raise InputError(
            f"The environment variable {key_env!r} is to hold the key of {url}; set it to one line of text."
        )
    if key and parts.scheme == "http" and host not in LOOPBACK:
        raise InputError(f"{url} would send the key unencrypted over the network; use https.")
    base = url.rstrip("/").removesuffix("/chat/completions")
    return Endpoint(base, model, key, timeout, retries)


def _content(reply: bytes, url: str) -> str:
    """The first choice's text in a chat completion."""
    try:
        read = json.loads(reply)
    except ValueError:
        raise InputError(f"The chat endpoint {url} does not answer with JSON; check the address.") from None
    try:
        content = read["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        content = None
    if not isinstance(content, str) or not content.strip():
        raise InputError(
            f"The chat endpoint {url} answers without a text at choices[0].message.content; is it a chat model?"
        )
    return content


def found_object(text: str, name: str) -> Mapping[str, Any] | None:
    """The first JSON object in a text that has an entry of that name; models like to talk around what was asked for."""
    decoder, text = json.JSONDecoder(strict=False), text[:LOOKED]
    for start in (place for place, character in enumerate(text) if character == "{"):
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and name in found:
            return found
    return None
