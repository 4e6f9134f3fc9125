"""Pages a second of `datatools crawl --from-warc`, on pages made of real encyclopedia articles.

    python -m benchmarks.warc ENCYCLOPEDIA.csv [--pages 600] [--workers 2]

Each row of the CSV becomes a section of a page: an article of some 30 kB in GB18030, inside the menus, side bars and
footers of a portal. Prints pages a second of CPU time: what one core does.
"""

from __future__ import annotations

import argparse
import csv
import html
import io
import statistics
import sys
import tempfile
from itertools import islice
from pathlib import Path

from benchmarks.measure import measure

SECTIONS = 6  # rows of the encyclopedia a page


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encyclopedia", type=Path)
    parser.add_argument("--pages", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "portal.warc.gz")
        sizes = write(path, arguments.encyclopedia, arguments.pages)
        out = str(Path(folder, "out"))
        command = [sys.executable, "-m", "datatools", "crawl", "--from-warc", str(path), "--out", out, "--quiet"]
        ran = measure([*command, "--workers", str(arguments.workers)])
        print(ran.output.strip())
    print(f"{len(sizes)} pages, {statistics.median(sizes) / 1e3:.0f} kB each (median), {path.name}")
    used = f"{ran.cpu:.1f} s CPU, {ran.wall:.1f} s wall, {ran.peak / 1e6:.0f} MB"
    print(f"{len(sizes) / ran.cpu:.1f} pages/s a core ({used})")


def write(path: Path, encyclopedia: Path, pages: int) -> list[int]:
    """A WARC file of pages; the size of each."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    sizes = []
    with encyclopedia.open(encoding="gb18030", errors="replace", newline="") as file, path.open("wb") as out:
        rows = csv.DictReader(file)
        writer = WARCWriter(out, gzip=True)
        for number in range(pages):
            articles = list(islice(rows, SECTIONS))
            if not articles:
                break
            body = page(articles).encode("gb18030", "replace")
            sizes.append(len(body))
            headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
            url = f"http://portal.example/article/{100_000 + number}.html"
            writer.write_record(
                writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=headers)
            )
    return sizes


def page(articles: list[dict[str, str]]) -> str:
    """A portal's page: a third article, two thirds everything else."""
    names = [next(iter(article.values())) for article in articles]
    menu = "".join(f'<li class="item"><a href="/list/{n}.html" title="{n}">栏目{n}</a></li>' for n in range(120))
    body = "".join(
        f"<h2>{html.escape(name)}</h2>"
        + "".join(f"<h3>{html.escape(field)}</h3><p>{html.escape(text)}</p>" for field, text in article.items() if text)
        for name, article in zip(names, articles, strict=True)
    )
    related = "".join(
        f'<div class="card"><a href="/a/{n}.html"><img src="/i/{n}.jpg"><span>推荐{n}</span></a></div>'
        for n in range(60)
    )
    return (
        f'<!DOCTYPE html><html><head><meta charset="gb2312"><title>{html.escape(names[0])}_门户</title>'
        f"<style>{'.a{color:red}' * 200}</style><script>{'var x=1;' * 400}</script></head><body>"
        f'<div id="header"><ul class="nav">{menu}</ul></div><div class="main"><h1>{html.escape(names[0])}</h1>'
        f'{body}</div><div class="sidebar">{related}</div><div class="footer">{menu}</div></body></html>'
    )


if __name__ == "__main__":
    main()
