"""Zip and tar archives: every member is read as the file it is, in memory, under the name `archive!member`.

Nothing is ever unpacked to disk, so a member's name can do no harm.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from datatools.io import storage
from datatools.io.encoding import decode
from datatools.io.files import HEAD, UNPACKING, unique, with_format
from datatools.io.read import describe, is_broken_input
from datatools.io.read import read as read_source
from datatools.io.source import LARGEST, Fault, Read, ReadOptions, Source
from datatools.io.squeezed import too_squeezed

ARCHIVES = ("zip", "tar")


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """What the members hold: a zip's in order of name, a tar's in order of the archive.

    A member that cannot be read is a Fault, and the rest goes on. Archives in archives are read one level deep.
    """
    members = zip_members(source) if source.format == "zip" else tar_members(source)
    taken: set[str] = set()
    for name, content in members:
        name = unique(f"{source.name}!{name}", taken)
        if isinstance(content, str):
            yield Fault(name, content)
        else:
            yield from read_member(source, name, content, options)


def zip_members(source: Source) -> Iterator[tuple[str, bytes | str]]:
    """Name and bytes of each file in a zip, or what is wrong with it."""
    with source.open() as stream, zipfile.ZipFile(stream) as archive:
        stream.seek(0)
        first = min((entry.header_offset for entry in archive.infolist()), default=0)
        if first and stream.read(4) == b"PK\3\4":  # zipfile took the end of an inner archive for the end of this one
            raise zipfile.BadZipFile("the list of members is cut off")
        entries = [(harmless(member_name(entry)), entry) for entry in archive.infolist() if not entry.is_dir()]
        for name, entry in sorted(entries, key=lambda pair: pair[0]):
            if not is_hidden(name):
                yield name, zip_content(archive, entry)


def zip_content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | str:
    """The bytes of one zip entry, or what is wrong with it."""
    if entry.flag_bits & 1:
        return "the member is encrypted"
    if wrong := too_large(entry.file_size, entry.compress_size):
        return wrong
    try:
        return archive.read(entry)
    except Exception as error:
        if not is_broken_input(error):
            raise
        return describe(error)


def tar_members(source: Source) -> Iterator[tuple[str, bytes | str]]:
    """Name and bytes of each file in a tar, or what is wrong with it; links and devices are passed over."""
    packed = len(source.data) if source.data is not None else packed_size(source)
    # "|*" reads a stream forwards and finds bz2 and xz out by itself.
    with source.open() as stream, tarfile.open(fileobj=stream, mode="r|*", tarinfo=StrictTarInfo) as archive:
        for member in archive:
            name = harmless(printable(member.name))
            if not member.isfile() or is_hidden(name):
                continue
            if wrong := too_large(member.size, packed):
                yield name, wrong
                continue
            content = archive.extractfile(member)
            yield name, content.read() if content else "no content"


class StrictTarInfo(tarfile.TarInfo):
    """A header that is broken anywhere in the archive is an error; tarfile itself takes it for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> StrictTarInfo:
        """The next header."""
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"broken header after {archive.offset} bytes") from error


def packed_size(source: Source) -> int:
    """Size of the archive's file, in bytes."""
    return storage.size(source.path)


def member_name(entry: zipfile.ZipInfo) -> str:
    """The entry's name; without the UTF-8 flag it is in the packer's code page, in China GBK, which zipfile reads as
    cp437."""
    if entry.flag_bits & 0x800:
        return entry.orig_filename
    return decode(entry.orig_filename.encode("cp437")).text


def printable(name: str) -> str:
    """A tar member's name: bytes that are not UTF-8 come as surrogates, and are read as what they most likely are."""
    return decode(name.encode("utf-8", "surrogateescape")).text


def harmless(name: str) -> str:
    """The name without leading slashes, drive letters and `..`."""
    parts = name.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..") and not part.endswith(":")) or "unnamed"


def is_hidden(name: str) -> bool:
    """Whether a member is a system's own file."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def too_large(size: int, packed: int) -> str:
    """Why a member of this size must not be read into memory, or nothing."""
    if size > LARGEST:
        return f"the member has {size >> 20:,} MiB; at most {LARGEST >> 20} are read from an archive"
    return too_squeezed(size, packed)


def read_member(source: Source, name: str, content: bytes, options: ReadOptions) -> Iterator[Read]:
    """What one member holds."""
    if not content:
        yield Fault(name, "the file is empty", "empty_file")
        return
    filename = name.rpartition("/")[2].rpartition("!")[2]
    try:
        member = with_format(Source(source.path, name, "", data=content), filename, content[:HEAD])
    except UNPACKING as error:
        yield Fault(name, describe(error))
        return
    if member is None:
        yield Fault(name, "neither text nor a format that can be read", "unknown_type")
    elif member.format in ARCHIVES and "!" in source.name:
        yield Fault(name, "archives are read one level deep")
    elif member.compression and member.format not in ARCHIVES:
        yield from read_unpacked(member, options)
    else:
        yield from read_source(member, options)


def read_unpacked(member: Source, options: ReadOptions) -> Iterator[Read]:
    """A compressed member, unpacked here where its size is watched."""
    assert member.data is not None
    try:
        with member.open() as stream:
            content = bounded(stream)
    except Exception as error:
        if not is_broken_input(error):
            raise
        yield Fault(member.name, describe(error))
        return
    if wrong := too_large(len(content), len(member.data)):
        yield Fault(member.name, wrong)
    else:
        yield from read_source(replace(member, compression="", data=content), options)


def bounded(stream: IO[bytes]) -> bytes:
    """At most one byte more than may be read."""
    return stream.read(LARGEST + 1)
