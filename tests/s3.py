"""A small S3 on loopback, for tests: what pyarrow's client asks of it, without signatures, failing when told to."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 100  # keys of a listing: few, so that tests turn pages
PIECE = 64 << 10  # bytes


class Storage:
    """Buckets in memory. `failing` is the share of writes that end in an error or a broken connection."""

    def __init__(self, seed: int = 0) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.failing = 0.0
        self.asked: Counter[str] = Counter()
        self.failed = 0
        self.clock = 1_700_000_000.0
        self.lock = threading.RLock()
        self._random = random.Random(seed)

    def fails(self) -> str:
        """How this write is to fail, or nothing."""
        with self.lock:
            if self._random.random() >= self.failing:
                return ""
            self.failed += 1
            return self._random.choice(["500", "before", "after"])

    def store(self, key: str, content: bytes) -> None:
        """An object, whole."""
        with self.lock:
            self.clock += 1
            self.objects[key] = content, self.clock

    def clear(self) -> None:
        """Forget all; fail no more."""
        with self.lock:
            self.objects.clear()
            self.asked.clear()
            self.failing, self.failed = 0.0, 0

    def forget(self, key: str) -> None:
        """Delete an object."""
        with self.lock:
            self.objects.pop(key, None)

    def names(self, prefix: str = "") -> list[str]:
        """Keys, with their bucket, in order."""
        with self.lock:
            return sorted(key for key in self.objects if key.startswith(prefix))


def when(moment: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    """What the servers of S3 and of Google's storage have in common."""

    protocol_version = "HTTP/1.1"
    storage: Storage
    failure = 500

    def handle(self) -> None:
        with suppress(ConnectionError):  # clients hang up, and are killed
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _asked(self) -> tuple[str, dict[str, str]]:
        """The path, as it was sent, and the query."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return parts.path.lstrip("/"), query

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while length := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _pieces(self, content: bytes) -> None:
        """A body as far as the client takes it; counted."""
        for place in range(0, len(content), PIECE):
            self.wfile.write(content[place : place + PIECE])
            self.storage.asked["bytes read"] += len(content[place : place + PIECE])

    def _error(self, status: int, code: str) -> None:
        raise NotImplementedError

    def _media(self, content: bytes, **facts: str) -> None:
        """An object, or the range of it that is asked for."""
        self.storage.asked["GET"] += 1
        status = 200
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(found[1]), min(int(found[2] or len(content)), len(content) - 1)
            if start > end:
                self._error(416, "InvalidRange")
                return
            status, facts["Content_Range"] = 206, f"bytes {start}-{end}/{len(content)}"
            content = content[start : end + 1]
        self.send_response(status)
        for name, value in {**facts, "Content_Length": str(len(content))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self._pieces(content)

    def _breaks(self) -> str:
        """Fail this write; "after" when it is to be done and its answer lost."""
        how = self.storage.fails()
        if how == "500":
            self._error(self.failure, "InternalError")
        elif how == "before":
            self._gone()
        return how

    def _gone(self) -> None:
        self.close_connection = True
        self.connection.close()


class _Handler(Handler):
    def _asked(self) -> tuple[str, dict[str, str]]:
        path, query = super()._asked()
        return unquote(path), query

    def _body(self) -> bytes:
        data = super()._body()
        if "aws-chunked" not in self.headers.get("Content-Encoding", "") and "STREAMING" not in self.headers.get(
            "x-amz-content-sha256", ""
        ):
            return data
        content, place = b"", 0  # pieces with their length in front, and checksums behind the last
        while True:
            end = data.index(b"\r\n", place)
            length = int(data[place:end].split(b";")[0], 16)
            if not length:
                return content
            content += data[end + 2 : end + 2 + length]
            place = end + 4 + length

    def _error(self, status: int, code: str) -> None:
        text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._answer(status, text.encode(), Content_Type="application/xml")

    def _xml(self, name: str, inner: str) -> None:
        text = f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}'
        self._answer(200, f"{text}</{name}>".encode(), Content_Type="application/xml")

    def do_HEAD(self) -> None:
        key, _ = self._asked()
        self.storage.asked["HEAD"] += 1
        if "/" not in key.rstrip("/"):
            self._answer(200)
        elif key in self.storage.objects:
            content, moment = self.storage.objects[key]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", _etag(content))
            self.send_header("Last-Modified", formatdate(moment, usegmt=True))
            self.end_headers()
        else:
            self._answer(404)

    def do_GET(self) -> None:
        key, query = self._asked()
        if "/" not in key.rstrip("/"):
            self.storage.asked["LIST"] += 1
            self._list(key.rstrip("/"), query)
            return
        if key not in self.storage.objects:
            self.storage.asked["GET"] += 1
            self._error(404, "NoSuchKey")
            return
        content, moment = self.storage.objects[key]
        self._media(content, ETag=_etag(content), Last_Modified=formatdate(moment, usegmt=True))

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter, after = (
            query.get("prefix", ""),
            query.get("delimiter", ""),
            query.get("continuation-token", ""),
        )
        most = min(PAGE, int(query.get("max-keys", PAGE)))
        rows, seen, last, more = [], set(), "", False
        for name in self.storage.names(f"{bucket}/{prefix}"):
            key = name[len(bucket) + 1 :]
            place = key.find(delimiter, len(prefix)) if delimiter else -1
            shown = key if place < 0 else key[: place + len(delimiter)]
            if shown in seen or (after and shown <= after):
                continue
            if len(seen) == most:
                more = True
                break
            seen.add(shown)
            last = shown
            if place >= 0:
                rows.append(f"<CommonPrefixes><Prefix>{escape(shown)}</Prefix></CommonPrefixes>")
            else:
                content, moment = self.storage.objects[name]
                rows.append(
                    f"<Contents><Key>{escape(key)}</Key><LastModified>{when(moment)}</LastModified>"
                    f"<ETag>{escape(_etag(content))}</ETag><Size>{len(content)}</Size></Contents>"
                )
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        told = f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(seen)}</KeyCount>"
        told += f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        self._xml("ListBucketResult", told + "".join(rows))

    def do_PUT(self) -> None:
        key, query = self._asked()
        body = self._body()
        self.storage.asked["PUT"] += 1
        if "/" not in key.rstrip("/"):
            self._answer(200)
            return
        how = self._breaks()
        if how in ("500", "before"):
            return
        if "uploadId" in query:
            with self.storage.lock:
                self.storage.uploads[query["uploadId"]][int(query["partNumber"])] = body
        elif self.headers.get("If-None-Match") == "*" and key in self.storage.objects:
            self._error(412, "PreconditionFailed")
            return
        else:
            self.storage.store(key, body)
        self.storage.asked["bytes written"] += len(body)
        if how:
            self._gone()
        else:
            self._answer(200, ETag=_etag(body))

    def do_POST(self) -> None:
        key, query = self._asked()
        body = self._body()
        self.storage.asked["POST"] += 1
        if "delete" in query:
            bucket = key.rstrip("/")
            names = [node.text or "" for node in ElementTree.fromstring(body).iter() if node.tag.endswith("}Key")]
            names = names or [node.text or "" for node in ElementTree.fromstring(body).iter("Key")]
            with self.storage.lock:
                for name in names:
                    self.storage.objects.pop(f"{bucket}/{name}", None)
            self._xml("DeleteResult", "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names))
        elif "uploads" in query:
            with self.storage.lock:
                number = f"u{len(self.storage.uploads)}"
                self.storage.uploads[number] = {}
            bucket, _, name = key.partition("/")
            self._xml(
                "InitiateMultipartUploadResult",
                f"<Bucket>{bucket}</Bucket><Key>{escape(name)}</Key><UploadId>{number}</UploadId>",
            )
        else:
            parts = self.storage.uploads.get(query["uploadId"], {})
            content = b"".join(parts[number] for number in sorted(parts))
            self.storage.store(key, content)
            self.storage.uploads.pop(query["uploadId"], None)
            bucket, _, name = key.partition("/")
            self._xml(
                "CompleteMultipartUploadResult",
                f"<Bucket>{bucket}</Bucket><Key>{escape(name)}</Key><ETag>{escape(_etag(content))}</ETag>",
            )

    def do_DELETE(self) -> None:
        key, query = self._asked()
        with self.storage.lock:
            if "uploadId" in query:
                self.storage.uploads.pop(query["uploadId"], None)
            else:
                self.storage.objects.pop(key, None)
        self._answer(204)


@contextmanager
def serving(handler: type[Handler], storage: Storage) -> Iterator[int]:
    """The port of a server that runs meanwhile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"storage": storage}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def storage_server(seed: int = 0) -> Iterator[tuple[Storage, dict[str, str]]]:
    """A running server's storage, and the environment that leads clients to it."""
    storage = Storage(seed)
    with serving(_Handler, storage) as port:
        yield (
            storage,
            {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
        )
