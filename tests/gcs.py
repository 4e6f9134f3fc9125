"""A small Google storage on loopback, for tests: the JSON API, without credentials, failing when told to.

It is a process of its own: in pyarrow 26 `NativeFile.closed` makes a request of this client, holding the GIL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from multiprocessing import get_context
from multiprocessing.managers import BaseManager, NamespaceProxy
from typing import Any
from urllib.parse import unquote

from tests.s3 import PAGE, Handler, Storage, serving, when

STEP = 256 << 10  # bytes: the pieces of a resumable upload, but for the last, are of multiples of it


class _Storage(Storage):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.complete: set[str] = set()  # uploads that became objects
        self._forever = serving(_Handler, self)
        self.port = self._forever.__enter__()  # served for as long as this process lives


class _Handler(Handler):
    failure = 503
    storage: _Storage

    def _error(self, status: int, code: str) -> None:
        self._json({"error": {"code": status, "message": code, "errors": [{"reason": code}]}}, status)

    def _json(self, content: Any, status: int = 200, **headers: str) -> None:
        self._answer(status, json.dumps(content).encode(), Content_Type="application/json; charset=UTF-8", **headers)

    def _about(self, key: str) -> dict[str, Any]:
        content, moment = self.storage.objects[key]
        bucket, _, name = key.partition("/")
        return {
            "kind": "storage#object",
            "id": f"{key}/{int(moment)}",
            "name": name,
            "bucket": bucket,
            "generation": str(int(moment)),
            "metageneration": "1",
            "size": str(len(content)),
            "timeCreated": when(moment),
            "updated": when(moment),
        }

    def _key(self) -> tuple[str, dict[str, str]]:
        """`bucket`, `bucket/` for its listing, or `bucket/name of an object`, and the query."""
        path, query = self._asked()
        found = re.fullmatch(r"(?:(?:upload|download)/)?storage/v1/b/([^/]+)(?:/o(?:/([^/]+))?)?", path)
        assert found is not None, path
        below = "/" + unquote(found[2] or "") if "/o" in path[found.end(1) :] else ""
        return found[1] + below, query

    def do_GET(self) -> None:
        key, query = self._key()
        if key.endswith("/") and key.count("/") == 1:
            self.storage.asked["LIST"] += 1
            self._list(key[:-1], query)
        elif "/" not in key:
            self._json({"kind": "storage#bucket", "name": key, "timeCreated": when(0), "updated": when(0)})
        elif key not in self.storage.objects:
            self.storage.asked["GET" if query.get("alt") == "media" else "HEAD"] += 1
            self._error(404, "notFound")
        elif query.get("alt") == "media":
            self._media(self.storage.objects[key][0], Content_Type="application/octet-stream")
        else:
            self.storage.asked["HEAD"] += 1
            self._json(self._about(key))

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        names, prefixes = [], set()
        for key in self.storage.names(f"{bucket}/{prefix}"):
            place = key.find(delimiter, len(bucket) + 1 + len(prefix)) if delimiter else -1
            if place < 0:
                names.append(key)
            else:
                prefixes.add(key[len(bucket) + 1 : place + 1])
        names = [name for name in names if name > query.get("pageToken", "")]
        page, most = {"kind": "storage#objects"}, min(PAGE, int(query.get("maxResults", PAGE)))
        items = [self._about(name) for name in names[:most]]
        more = {"nextPageToken": names[most - 1]} if len(names) > most else {}
        self._json({**page, "items": items, "prefixes": sorted(prefixes), **more})

    def do_POST(self) -> None:
        key, query = self._key()
        body = self._body()
        self.storage.asked["POST"] += 1
        assert key.endswith("/"), self.path
        how = self._breaks()
        if how in ("500", "before"):
            return
        if query["uploadType"] == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            with self.storage.lock:
                number = f"u{len(self.storage.uploads) + len(self.storage.complete)}"
                self.storage.uploads[number] = {}
            if how:
                self._gone()
                return
            host = f"http://{self.headers['Host']}"
            place = f"{host}{self.path.partition('?')[0]}?uploadType=resumable&name={name}&upload_id={number}"
            self._answer(200, Location=place.replace(" ", "%20"))
            return
        if query["uploadType"] == "multipart":
            whole = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
            parts = [part for part in BytesParser().parsebytes(whole).walk() if not part.is_multipart()]
            about, content = (part.get_payload(decode=True) for part in parts)
            query = {"name": json.loads(about)["name"], **query}
            body = content
        self._store(key + query["name"], body, how)

    def _store(self, key: str, content: bytes, how: str) -> None:
        self.storage.store(key, content)
        self.storage.asked["PUT"] += 1
        self.storage.asked["bytes written"] += len(content)
        if how:
            self._gone()
        else:
            self._json(self._about(key))

    def do_PUT(self) -> None:
        """A piece of a resumable upload, or the question how far it has come."""
        key, query = self._key()
        body = self._body()
        number = query["upload_id"]
        if number in self.storage.complete:
            self._json(self._about(key + query["name"]))
            return
        parts = self.storage.uploads.get(number)
        if parts is None:
            self._error(404, "notFound")
            return
        found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", self.headers["Content-Range"])
        assert found is not None
        if found[0] == "bytes */*":
            self._so_far(parts)
            return
        how = self._breaks()
        if how in ("500", "before"):
            return
        held = sum(map(len, parts.values()))
        if found[1] and int(found[1]) != held:
            self._error(400, "invalid")
        elif found[3] == "*":
            assert len(body) % STEP == 0
            parts[held] = body
            if how:
                self._gone()
            else:
                self._so_far(parts)
        elif held + len(body) != int(found[3]):
            self._error(400, "invalid")
        else:
            content = b"".join(parts[place] for place in sorted(parts)) + body
            self.storage.uploads.pop(number)
            self.storage.complete.add(number)
            self._store(key + query["name"], content, how)

    def _so_far(self, parts: dict[int, bytes]) -> None:
        held = sum(map(len, parts.values()))
        self._answer(308, **({"Range": f"bytes=0-{held - 1}"} if held else {}))

    def do_DELETE(self) -> None:
        key, query = self._key()
        with self.storage.lock:
            if "upload_id" in query:
                self.storage.uploads.pop(query["upload_id"], None)
                self._answer(499)
            elif self.storage.objects.pop(key, None) is None:
                self._error(404, "notFound")
            else:
                self._answer(204)


class _Far(NamespaceProxy):
    """The storage of another process: attributes are copies of what stands there."""

    _exposed_ = ("__getattribute__", "__setattr__", "__delattr__", "store", "clear", "forget", "names")

    def store(self, key: str, content: bytes) -> None:
        self._callmethod("store", (key, content))

    def clear(self) -> None:
        self._callmethod("clear")

    def forget(self, key: str) -> None:
        self._callmethod("forget", (key,))

    def names(self, prefix: str = "") -> Any:
        return self._callmethod("names", (prefix,))


class _Manager(BaseManager):
    pass


_Manager.register("started", _Storage, _Far)


@contextmanager
def storage_server(seed: int = 0) -> Iterator[tuple[Storage, dict[str, str]]]:
    """A running server's storage, and the environment that leads clients to it."""
    with _Manager(ctx=get_context("spawn")) as manager:
        storage = manager.started(seed)  # type: ignore[attr-defined]
        yield storage, {"CLOUD_STORAGE_EMULATOR_ENDPOINT": f"http://127.0.0.1:{storage.port}"}
