"""The report of a real curate run: what it read, what it says of it, and that a browser shows the same numbers."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest

from datatools.report.progress import Progress
from pipelines.curate import curate, reapply
from pipelines.curate_settings import CurateSettings
from pipelines.report import report
from pipelines.rewritten import rewritten
from tests.report.test_browser import CHROMIUM, browse

WORDS = (
    "患者 治疗 高血压 糖尿病 医生 建议 饮食 控制 监测 血糖 记录 症状 头晕 乏力 检查 心电图 随访 运动 散步 戒烟".split()
)
FOOTER = "本站内容由编辑部整理，仅供患者参考，不能代替医生面诊，如有不适请及时就医，转载请注明出处。"
SECRET = "13812345678"
WRAPPED = "夫风者百病之长也其中人也轻重不同故圣人避风如避矢石焉而世人\n不知其害往往于汗出之时当风取凉遂成大病∶慎之。"
SCRIPT = "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">肺炎患者应当多休息。"


def passage(number: int, sentences: int = 5) -> str:
    chance = random.Random(number)
    return "".join("".join(chance.choices(WORDS, k=9)) + "。" for _ in range(sentences))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curated")
    source = folder / "in"
    source.mkdir()
    texts = {
        "wrapped.txt": WRAPPED,
        "phone.txt": f"{passage(1)}电话{SECRET}联系。",
        "broken.txt": passage(2).encode().decode("mac_roman"),
        "long.txt": SCRIPT + passage(4, 12),
        "near.txt": SCRIPT + passage(4, 12).replace("患者", "病人", 1),
        "same.txt": SCRIPT + passage(4, 12),
        "short.txt": "见前。",
        "empty.txt": "",
    }
    for name, text in texts.items():
        (source / name).write_text(text, encoding="utf-8")
    (source / "old.txt").write_bytes(passage(5).encode("gb18030"))
    lines = [{"text": f"{passage(100 + n)}\n{FOOTER}", "id": f"page{n}"} for n in range(12)]
    (source / "pages.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    out = folder / "corpus.parquet"
    curate([str(source)], out, CurateSettings(), Progress(quiet=True))
    return out


def test_old_and_new_of_every_step_stand_side_by_side(made: Path) -> None:
    examples, note = rewritten(made.with_suffix(".work"))
    assert note == ""
    found = {example["step"]: example for example in examples}
    assert list(found) == ["pii", "mojibake", "boilerplate", "normalise"]
    assert SECRET in found["pii"]["before"] and "电话[PHONE]联系" in found["pii"]["after"]
    assert found["mojibake"]["after"] == passage(2)
    assert found["mojibake"]["before"] == passage(2).encode().decode("mac_roman")
    assert found["boilerplate"]["before"].removesuffix(f"\n{FOOTER}") == found["boilerplate"]["after"]
    assert found["normalise"]["before"] == WRAPPED
    assert found["normalise"]["after"] == WRAPPED.replace("\n", "").replace("∶", "：")
    assert sum(example["step"] == "boilerplate" for example in examples) == 5


def test_what_was_applied_again_shows_them_too(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.parquet"
    reapply(made.with_suffix(".work"), out, CurateSettings(near_threshold=0.95), Progress(quiet=True))
    again, note = rewritten(out.with_suffix(".work"))
    assert (again, note) == rewritten(made.with_suffix(".work"))


def test_inputs_that_are_gone_are_a_note_and_no_error(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus.parquet"
    shutil.copy(made, out)
    shutil.copytree(made.with_suffix(".work"), out.with_suffix(".work"))
    facts = json.loads((out.with_suffix(".work") / "report.json").read_text(encoding="utf-8"))
    facts["inputs"] = ["no longer here"]
    (out.with_suffix(".work") / "report.json").write_text(json.dumps(facts), encoding="utf-8")
    examples, note = rewritten(out.with_suffix(".work"))
    assert {example["step"] for example in examples} == {"boilerplate"}
    assert "no longer here" in note
    page = tmp_path / "report.html"
    report(out, page)
    assert "no longer here is not where it was" in page.read_text(encoding="utf-8")


def test_the_page_holds_no_personal_data(made: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    report(made, page)
    text = page.read_text(encoding="utf-8")
    assert "[PHONE]" in text and "•" * 11 in text
    assert SECRET not in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH")
@pytest.mark.parametrize("width", [420, 1280])
def test_a_browser_shows_the_numbers_of_the_run(made: Path, tmp_path: Path, width: int) -> None:
    page = tmp_path / "report.html"
    report(made, page)
    dom = browse(page, tmp_path, width, "--dump-dom")
    assert re.findall(r"<title>(.*?)</title>", dom)[0] == "corpus.parquet · report"
    assert "<script" not in dom and "&lt;script&gt;" in dom
    facts = json.loads((made.with_suffix(".work") / "report.json").read_text(encoding="utf-8"))
    cells = r'data-in="(\d+)".*?data-out="(\d+)".*?data-seconds="([\d.]*)".*?data-rate="([\d.,]*)"'
    shown = re.findall(rf'<tr data-step="(.*?)">.*?{cells}', dom, re.DOTALL)
    assert [(name, int(rows_in), int(rows_out)) for name, rows_in, rows_out, _, _ in shown] == [
        ("read", 21, 20),
        *((name, rows_in, rows_out) for name, rows_in, rows_out, _, _ in facts["funnel"]),
    ]
    steps = {name: (seconds, rate) for name, _, _, seconds, rate in shown}
    assert all(seconds for name, (seconds, _) in steps.items() if name != "read")
    assert steps["cleaning"][1], "MB/s"
    for title, label, count in (
        ("pii", "PHONE", 1),
        ("encodings", "gb18030", 1),
        ("languages_read", "Chinese (zh)", 19),
        ("source", "pages.jsonl", 12),
    ):
        column = dom.split(f'data-column="{title}"')[1].split("</table>")[0]
        assert re.search(rf'<bdi>{re.escape(label)}</bdi>.*?data-value="{count}"', column, re.DOTALL), title
    counts = dict(re.findall(r'data-rule="(\w+)" data-value="(\d+)"', dom))
    assert counts == {"too_short": "1", "exact_duplicate": "1", "near_duplicate": "1", "empty_file": "1"}
    cluster = dom.split('class="card cluster"')[1]
    assert "<del>患者</del>" in cluster and "<ins>病人</ins>" in cluster
