"""The page in a real browser: its numbers, its width, and that nothing in it runs."""

from __future__ import annotations

import html
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from pipelines.report import report
from tests.report.test_facts import curated, unified
from tests.report.test_page import HOSTILE

__all__ = ["unified"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()
# The page cannot run a script to measure itself, so a frame around it does. Files are strangers to each other, hence
# the frame's document is written into it, without the policy that would (rightly) stop it from being measured.
PROBE = """<!doctype html><meta charset="utf-8"><body style="margin:0"><iframe id="f" srcdoc="{page}"
style="border:0;width:{width}px;height:900px"></iframe><script>
document.getElementById("f").onload = event => {{
  const root = event.target.contentDocument.documentElement;
  const boxes = [...event.target.contentDocument.querySelectorAll(".scroll, .card, .reason")];
  const cut = Math.max(...boxes.map(box => box.scrollWidth - box.clientWidth));
  const title = event.target.contentDocument.title;
  document.title = `${{root.scrollWidth}} of ${{root.clientWidth}}, ${{cut}} cut, ${{title}}`;
}};</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH"),
]


def browse(path: Path, folder: Path, width: int, *flags: str) -> str:
    """The DOM of a page after it was opened in a fresh browser `width` wide."""
    profile = folder / f"profile-{width}-{len(list(folder.iterdir()))}"
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},900", *flags, path.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=90, check=True)
    return done.stdout.decode("utf-8")


def numbers(dom: str, name: str) -> dict[str, int]:
    """Names and numbers of elements marked `data-NAME` in the DOM, each as it is shown."""
    found = re.findall(rf'data-{name}="([^"]*)" data-value="\d+(?:\.\d+)?">([\d,.]+)', dom)
    return {key: int(value.replace(",", "")) for key, value in found if "." not in value}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    page = folder / "report.html"
    report(curated(folder, "\n".join([*HOSTILE, "W" * 3000, "药" * 3000])), page)
    return page


@pytest.mark.parametrize("width", [400, 1400])
def test_numbers_are_read_from_the_page(hostile: Path, tmp_path: Path, width: int) -> None:
    dom = browse(hostile, tmp_path, width, "--dump-dom")
    assert numbers(dom, "fact") == {"rows": 10, "read": 36, "left_out": 26, "clusters": 3}
    assert numbers(dom, "rule") == {"too_short": 21, "near_duplicate": 5}
    assert dom.rstrip().endswith("</html>")
    assert "<footer>" in dom


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_of_the_corpus_runs(hostile: Path, tmp_path: Path, width: int) -> None:
    dom = browse(hostile, tmp_path, width, "--dump-dom")
    assert re.findall(r"<title>(.*?)</title>", dom)[0] == "corpus.parquet · report"
    assert not re.search(r"<(script|img|iframe|link|base|form|input)\b", dom)


@pytest.mark.parametrize("width", [400, 700, 1400])
@pytest.mark.parametrize("name", ["hostile", "unified"])
def test_the_page_is_no_wider_than_the_window_and_no_column_is_cut_off(
    name: str, width: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(name)
    page = source
    if name == "unified":
        page = tmp_path / "report.html"
        report(source, page)
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(page=html.escape(text), width=width), encoding="utf-8")
    dom = browse(probe, tmp_path, width, "--dump-dom", "--virtual-time-budget=5000")
    # Even without its policy the escaped page ran nothing: the title is still its own.
    wide, window, cut, title = re.findall(r"<title>(\d+) of (\d+), (-?\d+) cut, (.*?)</title>", dom)[0]
    assert int(wide) <= int(window) == width
    assert int(cut) <= 0
    assert title.endswith(".parquet · report")


@pytest.mark.parametrize("width", [400, 1400])
def test_a_picture_can_be_taken(unified: Path, tmp_path: Path, width: int) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "page.png"
    report(unified, page)
    browse(page, tmp_path, width, f"--screenshot={picture}")
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24])[0] == width
    assert len(data) > 10_000, "an empty page is smaller"
