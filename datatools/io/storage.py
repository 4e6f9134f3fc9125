"""Object storage (`s3://`, `gs://`): inputs read by address, and the files of a job kept there.

A job computes in folders. Where its `--out` is an address, it works in a folder of this machine that mirrors the
bucket: `placed` says where, whatever `datatools.io.atomic` finishes there is uploaded under its address, and `here`
fetches what another process or machine has uploaded. An object appears whole or not at all, so no name is temporary.

S3 and Google's storage are spoken to by pyarrow's own clients; any other `scheme://` by fsspec, where the package for
it is installed. Credentials come from the environment, as those clients read it.
"""

from __future__ import annotations

import atexit
import fcntl
import io
import os
import random
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar, cast

ADDRESS = re.compile(r"([a-z][a-z0-9+]+):/+(.+)")
MIRROR = "datatools-mirror-"  # what the names of mirroring folders begin with
TRIES = 6  # of one request, beyond what the client tries itself
PATIENCE = 4  # seconds in which Google's client tries one request itself; left alone it does so for 15 minutes
BUFFER = 1 << 20  # bytes that one request reads of an input
SIDE_BY_SIDE = 16
_BELOW = re.compile(rf"/{MIRROR}[^/]+/([a-z][a-z0-9+]+)/(.+)")
_OURS_TO_TELL = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|PermissionDenied"
    r"|Status\((PERMISSION_DENIED|UNAUTHENTICATED|INVALID_ARGUMENT)"
)
Found = TypeVar("Found")


class Unreachable(Exception):
    """Storage did not answer, or refused, after all tries: never the fault of the file that was asked for."""


class Entry(NamedTuple):
    """An object: its address, its name below what was listed, bytes, and when it was written (ns)."""

    address: str
    name: str
    size: int
    changed: int


def is_address(path: object) -> bool:
    """Whether a path is an address of object storage.

    >>> is_address("s3://bucket/pages/"), is_address("pages"), is_address("hf:org/name"), is_address("https://a.org/x")
    (True, False, False, False)
    """
    return "://" in str(path) and ADDRESS.match(str(path)) is not None and not re.match(r"https?:|file:", str(path))


def normal(address: str) -> str:
    """An address with its slashes as they should be.

    >>> normal("s3:/bucket//a/"), normal("gcs://b/x")
    ('s3://bucket/a', 'gs://b/x')
    """
    found = ADDRESS.fullmatch(address)
    assert found is not None
    scheme = "gs" if found[1] == "gcs" else found[1]
    return f"{scheme}://{re.sub('/+', '/', found[2]).rstrip('/')}"


# Requests


def _endpoint(scheme: str) -> str | None:
    if scheme == "gs":
        return os.environ.get("CLOUD_STORAGE_EMULATOR_ENDPOINT") or None
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


@lru_cache(maxsize=8)
def _client(scheme: str, bucket: str, endpoint: str | None) -> Any:
    from pyarrow import fs

    if scheme == "s3":
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if region is None and endpoint is None:
            with suppress(OSError):  # the next request says what is wrong
                region = fs.resolve_s3_region(bucket)
        # Without background writes: they would copy a whole output into memory.
        return fs.S3FileSystem(
            region=region,
            endpoint_override=endpoint,
            background_writes=False,
            allow_delayed_open=True,  # one request for a small object, not three
            connect_timeout=10,
            request_timeout=60,
        )
    if scheme == "gs":
        # It finds the emulator by itself, but then still asks for credentials.
        return fs.GcsFileSystem(anonymous=endpoint is not None, retry_time_limit=timedelta(seconds=PATIENCE))
    import fsspec

    try:
        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError) as error:
        raise ValueError(f"{scheme}://: {str(error).splitlines()[0]}") from error


def _request(address: str, what: Callable[[Any, str], Found]) -> Found:
    """Ask storage, again where it fails. Raises FileNotFoundError, or Unreachable."""
    scheme, _, key = address.partition("://")
    for attempt in range(TRIES):
        try:
            return what(_client(scheme, key.partition("/")[0], _endpoint(scheme)), key)
        except FileNotFoundError:
            raise
        except OSError as error:
            if attempt + 1 == TRIES or isinstance(error, PermissionError) or _OURS_TO_TELL.search(str(error)):
                raise Unreachable(f"{address}: {' '.join(str(error).split())[:300]}") from error
            time.sleep(0.1 * 2**attempt * random.uniform(0.5, 1.5))
    raise AssertionError


_known: dict[str, tuple[int, int]] = {}  # what was listed: sizes and times need not be asked for again


def _status(address: str) -> tuple[int, int]:
    if address not in _known:
        info = _request(address, lambda client, key: client.get_file_info(key))
        if not info.is_file:
            raise FileNotFoundError(2, "no such object", address)
        _known[address] = info.size, info.mtime_ns or 0
    return _known[address]


def listed(address: str) -> list[Entry]:
    """The objects below an address, or the one at it, by name. Empty where there is none."""
    from pyarrow import fs

    def ask(client: Any, key: str) -> list[Any]:
        info = client.get_file_info(key)
        if info.is_file:
            return [info]
        return list(client.get_file_info(fs.FileSelector(key, recursive=True, allow_not_found=True)))

    address = normal(address)
    scheme, _, key = address.partition("://")
    entries = []
    for info in _request(address, ask):
        if info.is_file:
            where = info.path.removeprefix("/")  # some of fsspec's begin with one
            _known[f"{scheme}://{where}"] = info.size, info.mtime_ns or 0
            entries.append(Entry(f"{scheme}://{where}", where[len(key) + 1 :], info.size, info.mtime_ns or 0))
    return sorted(entries, key=lambda entry: entry.name)


def put(file: Path, address: str) -> None:
    """Upload a file as one object."""
    import pyarrow as pa

    def write(client: Any, key: str) -> None:
        # In one call: an interruption then finds nothing or all of it written, never half of an object closed.
        with client.open_output_stream(key) as stream:
            stream.write(content)

    content = pa.memory_map(str(file)).read_buffer() if file.stat().st_size else b""
    _request(address, write)


def put_bytes(content: bytes, address: str) -> None:
    """Write a small object."""

    def write(client: Any, key: str) -> None:
        with client.open_output_stream(key) as stream:
            stream.write(content)

    _request(address, write)


def delete(address: str) -> None:
    """Delete an object, or all below it; none is fine too."""

    def ask(client: Any, key: str) -> None:
        info = client.get_file_info(key)
        if info.is_file:
            client.delete_file(key)
        else:
            client.delete_dir_contents(key, missing_dir_ok=True)

    _request(address, ask)


def _get(address: str, file: Path) -> None:
    def read(client: Any, key: str) -> None:
        with client.open_input_stream(key, compression=None) as stream, file.open("wb") as copy:
            while block := stream.read(8 << 20):
                copy.write(block)

    _request(address, read)


# Inputs


def opened(path: str, buffer: int = BUFFER) -> IO[bytes]:
    """A stream of the bytes of a file or object, which may be sought in; of an object, `buffer` bytes a request."""
    return cast(IO[bytes], io.BufferedReader(_Remote(path, buffer))) if is_address(path) else Path(path).open("rb")


def size(path: str) -> int:
    """Bytes of a file or object."""
    return _status(path)[0] if is_address(path) else Path(path).stat().st_size


def changed(path: str) -> int:
    """When a file or object was last written, in ns."""
    return _status(path)[1] if is_address(path) else Path(path).stat().st_mtime_ns


def _whole(client: Any, key: str) -> bytes:
    with client.open_input_stream(key, compression=None) as stream:
        return cast(bytes, stream.read())


class _Remote(io.RawIOBase):
    """An object as a file; a request is for `ahead` bytes at least, and made again where it fails.

    One that was listed with no more bytes than that is read at once.
    """

    def __init__(self, address: str, ahead: int) -> None:
        self._address, self._ahead, self._place = address, ahead, 0
        self._start, self._block, self._file = 0, b"", cast(Any, None)
        if 0 < _known.get(address, (0, 0))[0] <= ahead:
            self._block = _request(address, _whole)
            self._size = len(self._block)
        else:
            self._file = _request(address, lambda client, key: client.open_input_file(key))
            # In pyarrow 26, what asks this whether it is open starts a download of all, which Google's client holds
            # until it is closed; that costs a request and what is on its way by then.
            self._size = self._file.size()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        self._place = place + (0, self._place, self._size)[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        if not self._start <= self._place < self._start + len(self._block):
            count = min(max(len(buffer), self._ahead), self._size - self._place)
            if count <= 0:
                return 0
            self._block = _request(self._address, lambda client, key: self._file.read_at(count, self._place))
            self._start = self._place
        begin = self._place - self._start
        data = memoryview(self._block)[begin : begin + len(buffer)]
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def close(self) -> None:
        self._block, self._file = b"", None
        super().close()


# The mirroring folder


class _Root(threading.local):
    """The folder of this process, or of the task that this thread runs."""

    path: Path | None = None


_task = _Root()
_own: Path | None = None
_held: list[IO[bytes]] = []


def root() -> Path:
    """The folder of this process that mirrors storage; it is deleted at the end, or by the next process here."""
    global _own
    if _task.path is not None:
        return _task.path
    if _own is None:
        _own = _made()
        atexit.register(shutil.rmtree, _own, ignore_errors=True)
    return _own


def adopt(path: Path | None) -> None:
    """Use the folder of the process that started this one."""
    global _own
    _own = path


def mirroring() -> Path | None:
    """The folder, where this process has one."""
    return _own


def _made() -> Path:
    place = Path(tempfile.gettempdir())
    for other in place.glob(f"{MIRROR}*"):  # left by a process that was killed
        with suppress(OSError), (other / "held").open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(other, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix="datatools-new-"))
    _held.append((made / "held").open("wb"))
    fcntl.flock(_held[-1], fcntl.LOCK_EX)
    return made.rename(place / (MIRROR + made.name.removeprefix("datatools-new-")))  # held before it can be found


@contextmanager
def scratch() -> Iterator[None]:
    """A mirroring folder of its own for what this thread does, deleted with the block."""
    before, _task.path = _task.path, _made()
    held = _held[-1]
    try:
        yield
    finally:
        shutil.rmtree(_task.path, ignore_errors=True)
        _task.path = before
        held.close()
        _held.remove(held)


def placed(out: Path) -> Path:
    """Where this process writes what is to be at `out`: the path itself, or one that mirrors the address it is."""
    found = ADDRESS.fullmatch(str(out))
    if found is None or out.is_absolute():
        return out
    address = normal(str(out))
    if not address.startswith(("s3://", "gs://")):
        raise ValueError(f"--out {address}: outputs go to s3://, gs:// or a file system")
    if address.count("/") < 3:
        raise ValueError(f"--out {address}: must name a bucket and a file in it")
    return _mirrored(address)


def _mirrored(address: str) -> Path:
    return root() / address.replace("://", "/", 1)


def address_of(path: Path | str) -> str:
    """The address that a path in a mirroring folder, of whichever process, stands for; "" for any other.

    >>> address_of("/scratch/datatools-mirror-x1/s3/bucket/a.work/parts"), address_of("/data/a.work")
    ('s3://bucket/a.work/parts', '')
    """
    found = _BELOW.search(str(path)) if MIRROR in str(path) else None
    return f"{found[1]}://{found[2]}" if found else ""


def shown(path: Path | str) -> str:
    """A path as the user knows it."""
    return address_of(path) or str(path)


def own(path: Path) -> Path:
    """The path in this process's folder where it mirrors storage (another process's may be on another machine)."""
    address = address_of(path)
    return _mirrored(address) if address else path


def here(path: Path | str) -> Path:
    """The file, fetched first where it is in storage and not in this process's folder yet."""
    address = address_of(path)
    if not address:
        return Path(path)
    place = _mirrored(address)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{os.getpid()}-{threading.get_ident()}.fetched")
        _get(address, temporary)
        temporary.replace(place)
    return place


def all_here(paths: Iterable[Path]) -> list[Path]:
    """The same for many, side by side."""
    return side_by_side(here, paths)


def side_by_side(function: Callable[[Path], Found], paths: Iterable[Path]) -> list[Found]:
    """What the function gives for every path; in threads where the paths mirror storage, which takes its time."""
    paths = list(paths)
    if len(paths) < 2 or not address_of(paths[0]):
        return [function(path) for path in paths]
    folder = _task.path

    def call(path: Path) -> Found:
        _task.path = folder
        return function(path)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(call, paths))


class _Together(threading.local):
    pool: ThreadPoolExecutor | None = None
    pending: list[Future[None]]


_uploads = _Together()


@contextmanager
def together() -> Iterator[None]:
    """Uploads that begin in the block go side by side, and have all ended well when it ends."""
    _uploads.pending = []
    try:
        yield
        for future in _uploads.pending:
            future.result()
    finally:
        if _uploads.pool is not None:
            _uploads.pool.shutdown(cancel_futures=True)
            _uploads.pool = None
        del _uploads.pending


def upload(path: Path) -> None:
    """Upload a finished file of the mirroring folder; where that fails it is deleted here too."""
    if hasattr(_uploads, "pending"):
        if _uploads.pool is None:
            _uploads.pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        _uploads.pending.append(_uploads.pool.submit(_upload, path))
    else:
        _upload(path)


def _upload(path: Path) -> None:
    try:
        put(path, address_of(path))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Delete a file, here and in storage; that there is none is fine."""
    own(path).unlink(missing_ok=True)
    if address := address_of(path):
        delete(address)
