"""From the inputs of a command to Sources: which files there are, what they are called, and in which format."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from datatools.io import storage
from datatools.io.encoding import decode, is_text
from datatools.io.source import Fault, Source

FORMATS = {
    "txt": "txt text",
    "markdown": "md markdown",
    "html": "html htm xhtml",
    "latex": "tex latex",
    "xml": "xml",
    "json": "json",
    "jsonl": "jsonl ndjson",
    "csv": "csv",
    "tsv": "tsv",
    "parquet": "parquet",
    "arrow": "arrow feather ipc",
    "xlsx": "xlsx xlsm",
    "pdf": "pdf",
    "docx": "docx",
    "zip": "zip",
    "tar": "tar tgz tbz2 txz",
    "warc": "warc wet arc",
}
BY_EXTENSION = {extension: name for name, extensions in FORMATS.items() for extension in extensions.split()}
COMPRESSED = {"gz": "gz", "zst": "zst", "tgz": "gz"}  # bz2 and xz only as .tar.bz2 and .tar.xz, which tarfile opens
MAGIC = (
    (b"%PDF-", "pdf"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"PK\x03\x04", "zip"),
    (b"<?xml", "xml"),
    (b"WARC/", "warc"),
)
WARCS = (".warc.gz", ".warc")
HEAD = 65_536  # bytes looked at where the extension says nothing


UNPACKING = (OSError, EOFError, ValueError, zlib.error)  # what a broken compressed file raises


def discover(inputs: Sequence[str]) -> tuple[list[Source], list[Fault]]:
    """Every file in the inputs (files, folders, `s3://…`, `hf:org/name`), in order of input and then of name.

    Links to files are followed, links to folders are not; hidden files and `*.work` folders are skipped. Raises
    ValueError for an input that does not exist.
    """
    sources: list[Source] = []
    faults: list[Fault] = []
    taken: set[str] = set()
    prefixes: set[str] = set()
    for argument in inputs:
        for path, name in named(argument, len(inputs) > 1, prefixes, faults):
            found = identify(path, unique(name, taken))
            (sources if isinstance(found, Source) else faults).append(found)  # type: ignore[arg-type]
    return sources, faults


def named(argument: str, several: bool, prefixes: set[str], faults: list[Fault]) -> Iterator[tuple[str, str]]:
    """Path and name of every file of one input argument."""
    if argument.startswith("hf:"):
        yield argument, argument
        return
    if storage.is_address(argument):
        yield from _objects(argument, several, prefixes)
        return
    if "://" in argument:
        raise ValueError(
            f"{printable(argument)}: is not read from there; inputs are files, folders, s3://… and gs://…, "
            "and pages of the web come with `datatools crawl`"
        )
    root = Path(argument)
    if not root.exists():
        raise ValueError(f"{printable(argument)}: no such file or folder (a Hugging Face dataset is hf:org/name)")
    last = printable(root.name or root.resolve().name or "root")
    if not root.is_dir():
        yield argument, last
        return
    prefix = unique(last, prefixes) + "/" if several else ""
    found = without_sources(list(walk(root, faults)))
    files = [(printable(path.relative_to(root).as_posix()), str(path)) for path in found]
    for name, path in sorted(files, key=lambda pair: pair[0].split("/")):
        yield path, prefix + name


def _objects(argument: str, several: bool, prefixes: set[str]) -> Iterator[tuple[str, str]]:
    """Address and name of every object at or below an address, named as files of a folder are."""
    entries = storage.listed(argument)
    if not entries:
        raise ValueError(f"{argument}: no such object, and none below it")
    last = PurePosixPath(entries[0].address if not entries[0].name else storage.normal(argument)).name
    if not entries[0].name:
        yield entries[0].address, last
        return
    prefix = unique(last, prefixes) + "/" if several else ""
    below = {Path(entry.name): entry.address for entry in entries if not _is_own(entry.name)}
    for path in sorted(without_sources(list(below)), key=lambda path: path.as_posix().split("/")):
        yield below[path], prefix + path.as_posix()


def _is_own(name: str) -> bool:
    *folders, file = name.split("/")
    return file.startswith(".") or any(part.startswith(".") or part.endswith(".work") for part in folders)


def walk(root: Path, faults: list[Fault]) -> Iterator[Path]:
    """Files below a folder; a folder that cannot be listed is a Fault."""

    def refused(error: OSError) -> None:
        folder = printable(os.path.relpath(error.filename, root))
        faults.append(Fault(folder, f"{type(error).__name__}: {error.strerror}"))

    for folder, subfolders, files in os.walk(root, onerror=refused):
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and not name.endswith(".work")]
        yield from (Path(folder, name) for name in files if not name.startswith("."))


def without_sources(files: Sequence[Path]) -> list[Path]:
    """The files, less the WARC files of a crawl where `documents.parquet` beside them holds their text already."""
    crawls = {path.parent for path in files if path.name == "documents.parquet"}
    crawls &= {path.parent for path in files if path.name.endswith(WARCS)}
    beside = (*WARCS, "documents.trace.parquet")
    return [path for path in files if path.parent not in crawls or not path.name.endswith(beside)]


def unique(name: str, taken: set[str]) -> str:
    """The name, or with `~2`, `~3`, … where it is taken."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}~{number}"
    taken.add(candidate)
    return candidate


def printable(name: str) -> str:
    """A file name as valid Unicode: bytes that are not UTF-8 are read as what they most likely are."""
    raw = os.fsencode(name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        decoded = decode(raw)
    # A name that begins like UTF-16 is no such thing: no file system keeps names with NULs.
    sound = not decoded.undecodable and not decoded.encoding.startswith(("utf-16", "utf-32"))
    return decoded.text if sound else raw.decode("utf-8", "backslashreplace")


def identify(path: str, name: str) -> Source | Fault:
    """The Source for one file, or the Fault that says why it is none."""
    if path.startswith("hf:"):
        return Source(path, name, "hf")
    if storage.is_address(path):
        return _identify_object(path, name)
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            return Fault(name, "neither a file nor a folder", "unknown_type")
        if status.st_size == 0:
            return Fault(name, "the file is empty", "empty_file")
        with Path(path).open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        return Fault(name, f"{type(error).__name__}: {error.strerror}")
    return _told(Source(path, name, ""), head)


def _identify_object(path: str, name: str) -> Source | Fault:
    if storage.size(path) == 0:
        return Fault(name, "the file is empty", "empty_file")
    # A request for every object of a bucket takes its time: none where the name says enough.
    if found := by_name(Source(path, name, ""), PurePosixPath(path).name):
        return found
    with storage.opened(path) as stream:
        return _told(Source(path, name, ""), stream.read(HEAD))


def _told(source: Source, head: bytes) -> Source | Fault:
    name, path = source.name, source.path
    try:
        found = with_format(source, PurePosixPath(path).name, head)
    except UNPACKING as error:
        return Fault(name, f"{type(error).__name__}: {error}")
    if found is None:
        return Fault(name, "neither text nor a format that can be read", "unknown_type")
    return found


def with_format(source: Source, filename: str, head: bytes) -> Source | None:
    """The Source with format and compression, told from its name and, where that says nothing, from its first bytes."""
    if found := by_name(source, filename):
        return found
    return by_content(replace(source, compression=_endings(filename)[1]), head)


def by_name(source: Source, filename: str) -> Source | None:
    """The Source with format and compression where its name tells them."""
    if filename.lower().endswith((".tar.bz2", ".tar.xz")):
        return replace(source, format="tar")
    last, compression = _endings(filename)
    return replace(source, format=BY_EXTENSION[last], compression=compression) if last in BY_EXTENSION else None


def _endings(filename: str) -> tuple[str, str]:
    """The extension that tells the format, and the compression."""
    extensions = ["", *(part.lower() for part in filename.split(".")[1:])]
    compression = COMPRESSED.get(extensions[-1], "")
    squeezed = compression and extensions[-1] != "tgz"
    return ("", *extensions)[-2 if squeezed else -1], compression


def by_content(source: Source, head: bytes) -> Source | None:
    """The Source as its first bytes show it, or None where they are nothing we know. Raises one of UNPACKING."""
    if not source.compression and head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        source = replace(source, compression="gz" if head[0] == 0x1F else "zst")
    if source.compression:
        with source.open() as stream:
            head = stream.read(HEAD)
    known = next((name for magic, name in MAGIC if head.startswith(magic)), "")
    if known == "zip":
        known = "docx" if b"word/" in head else "xlsx" if b"xl/" in head else "zip"
    elif head[257:262] == b"ustar":
        known = "tar"
    elif head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        known = "html"
    elif not known and is_text(head):
        known = "txt"
    return replace(source, format=known) if known else None


def split(source: Source, target_bytes: int) -> list[Source]:
    """Cut a Source into ranges of about `target_bytes` that can be read independently, in order.

    Plain JSONL is cut by bytes (a range owns the lines that start in it; rows are numbered over the whole file, so
    that each range reads what stands before it: an object of a bucket is not cut), WARC by the bytes of its gzip
    members, parquet by row groups; all else is one.
    """
    if source.format == "warc" and source.compression == "gz" and source.data is None:
        stop = source.stop if source.stop >= 0 else storage.size(source.path)
        return ranges(source, [*range(source.start, stop, max(1, target_bytes)), stop])
    if source.data is not None or source.compression or source.start or source.stop != -1:
        return [source]
    if source.format == "jsonl" and not storage.is_address(source.path):
        size = Path(source.path).stat().st_size
        return ranges(source, [*range(0, size, max(1, target_bytes)), size])
    if source.format == "parquet":
        return ranges(source, row_group_bounds(source.path, target_bytes))
    return [source]


def ranges(source: Source, bounds: Sequence[int]) -> list[Source]:
    """One Source between each two neighbouring bounds; the whole Source where there are fewer than two ranges."""
    if len(bounds) < 3:
        return [source]
    return [replace(source, start=start, stop=stop) for start, stop in pairwise(bounds)]


def row_group_bounds(path: str, target_bytes: int) -> list[int]:
    """Numbers of the row groups at which a range ends; none for a file that cannot be read (its reader says why)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if storage.is_address(path):
            with storage.opened(path) as file:
                groups = pq.read_metadata(file)
        else:
            groups = pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return []
    sizes = (groups.row_group(number).total_byte_size for number in range(groups.num_row_groups))
    return [0, *full_groups(sizes, target_bytes)]


def full_groups(sizes: Iterable[int], target_bytes: int) -> Iterator[int]:
    """The number after each row group that fills a range, and after the last."""
    filled, number = 0, 0
    for number, size in enumerate(sizes, start=1):
        filled += size
        if filled >= target_bytes:
            yield number
            filled = 0
    if filled:
        yield number
