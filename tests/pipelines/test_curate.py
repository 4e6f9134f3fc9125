"""curate from end to end: what a user finds in the output, the trace and the summary."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.clean.quality import SIGNALS
from schemas.document import DOCUMENT
from tests.pipelines.command import Ended, beside, command, files, here, rows, rules, write

WORDS = (
    "患者 治疗 的 高血压 糖尿病 是 常见 慢性病 医生 建议 饮食 控制 在 家中 监测 血糖 血压 每日 记录 了 症状 头晕 乏力 "
    "胸闷 心悸 检查 心电图 肝功能 肾功能 尿常规 和 用药 遵医嘱 不可 自行 停药 复查 门诊 随访 运动 适量 散步 戒烟 限酒 "
    "睡眠 充足 情绪 稳定 家属 照护 感染 预防 接种 疫苗 儿童 老年人 孕妇 慎用 过敏 皮疹 发热 咳嗽 气促 及时 就医 住院"
).split()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a test has its corpus written."""
    return tmp_path / "corpus.parquet"


def passage(number: int, sentences: int = 5) -> str:
    """A paragraph of synthetic Chinese, another one for every number."""
    chance = random.Random(number)
    return "".join("".join(chance.choices(WORDS, k=9)) + "。" for _ in range(sentences))


def jsonl(documents: Sequence[dict[str, Any]]) -> str:
    """A JSONL file."""
    return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)


def texts(out: Path) -> list[str]:
    """The texts of a corpus."""
    return [row["text"] for row in rows(out)]


def trace(out: Path, rule: str = "") -> list[dict[str, Any]]:
    """The trace of an output, or its rows for one rule."""
    return [row for row in rows(beside(out, "trace")) if rule in ("", row["rule"])]


def report(out: Path) -> dict[str, Any]:
    """The facts a run leaves for `datatools report`."""
    found: dict[str, Any] = json.loads((out.with_suffix(".work") / "report.json").read_text(encoding="utf-8"))
    return found


def good(*arguments: object) -> Ended:
    """A run of curate that ends well."""
    done = here("curate", *arguments, "--workers", 1)
    assert done.code == 0, done.stderr
    return done


# Cleaning


def test_wrapped_lines_are_joined_and_the_ratio_sign_becomes_a_colon(tmp_path: Path, out: Path) -> None:
    wrapped = (
        "夫风者百病之长也其中人也轻重不同故圣人避风如避矢石焉而世人\n不知其害往往于汗出之时当风取凉遂成大病∶慎之。\n"
    )
    good(write(tmp_path / "in", {"a.txt": wrapped}), "--out", out)
    assert texts(out) == [
        "夫风者百病之长也其中人也轻重不同故圣人避风如避矢石焉而世人不知其害往往于汗出之时当风取凉遂成大病：慎之。"
    ]


def test_what_two_people_said_is_never_joined(tmp_path: Path, out: Path) -> None:
    asked = "我肝功能正常但是我前两年是大三阳前几天又查是大二阳一三为阳性请问"
    answered = "表面抗原阳性说明病毒在复制，请到医院查一下肝功能。"
    table = {"question": asked, "answer": answered}
    turns = {"messages": [{"role": ("user", "assistant")[k % 2], "content": asked + str(k)} for k in range(4)]}
    options = {"question": asked, "options": {"A": asked + "甲", "B": asked + "乙"}, "answer": "B", "解析": answered}
    good(
        write(tmp_path / "in", {"a.jsonl": jsonl([table]), "b.jsonl": jsonl([turns]), "c.jsonl": jsonl([options])}),
        *("--out", out, "--rules", "none"),
    )
    first, second, third = texts(out)
    assert first.split() == [asked, answered]
    assert second.split() == [asked + str(k) for k in range(4)]
    assert third.split("\n") == [
        *(asked, f"A. {asked}甲", f"B. {asked}乙"),
        *("", f"B. {asked}乙", "", answered),
    ]


def test_doses_superscripts_and_fractions_survive(tmp_path: Path, out: Path) -> None:
    text = "白细胞 5×10⁹/L，吸入 CO₂ 后好转。\n每次 ½ 片，5％葡萄糖 250 mL 静滴，剂量 3 μg/㎏，每日两次。"
    good(write(tmp_path / "in", {"a.txt": text}), "--out", out)
    assert texts(out) == [text]


def test_utf_8_that_was_read_as_mac_roman_comes_back(tmp_path: Path, out: Path) -> None:
    text = passage(1)
    misread = text.encode().decode("mac_roman")
    assert "患者" not in misread
    good(write(tmp_path / "in", {"a.txt": misread}), "--out", out)
    assert texts(out) == [text]
    assert json.loads(rows(out)[0]["meta"])["mojibake"] == "mac_roman"


def test_languages_are_told(tmp_path: Path, out: Path) -> None:
    english = (
        "Patients with asthma should carry the reliever inhaler and know the early signs of an attack at all times."
    )
    japanese = (
        "高血圧の患者さんは、毎日の塩分を減らして、適度な運動をしてください。薬は医師の指示に従って飲みましょう。"
    )
    korean = "고혈압 환자는 매일 소금 섭취를 줄이고 적당한 운동을 해야 합니다. 약은 의사의 지시에 따라 복용하십시오."
    classical = (
        "太阳之为病，脉浮，头项强痛而恶寒。太阳病，发热汗出，恶风脉缓者，名为中风。其人或已发热，或未发热，必恶寒也。"
    )
    folder = write(
        tmp_path / "in",
        {"a.txt": passage(1), "b.txt": english, "c.txt": japanese, "d.txt": korean, "e.txt": classical},
    )
    good(folder, "--out", out)
    assert [row["language"] for row in rows(out)] == ["zh", "en", "ja", "ko", "lzh"]
    assert report(out)["languages"] == {"zh": 1, "en": 1, "ja": 1, "ko": 1, "lzh": 1}
    assert rows(out)[4]["source_type"] == "classic"


def test_simplify_is_an_option(tmp_path: Path, out: Path) -> None:
    traditional = "高血壓患者應當減少鹽的攝取，並且在醫師的指示下按時服藥，不可自行停藥。"
    folder = write(tmp_path / "in", {"a.txt": traditional})
    good(folder, "--out", out)
    assert texts(out) == [traditional]
    good(folder, "--out", tmp_path / "simple.parquet", "--simplify")
    assert texts(tmp_path / "simple.parquet") == [
        "高血压患者应当减少盐的摄取，并且在医师的指示下按时服药，不可自行停药。"
    ]


# Personal data


PERSONAL = ("李小明", "13800138000", "xiaoming.li@example.com", "Z0012345")


def test_personal_data_is_replaced_in_the_text_the_title_and_the_meta_of_pairs(tmp_path: Path, out: Path) -> None:
    pair = {
        "question": "医生您好，我的电话13800138000，最近血压偏高，早上起来头晕，应该怎样用药和复查？",
        "answer": "请先在家中监测血压一周并记录，结果发到 xiaoming.li@example.com，再到门诊复查，不可自行停药。",
        "姓名": "李小明",
    }
    folder = write(
        tmp_path / "in",
        {
            "pairs.jsonl": jsonl([pair]),
            "note.md": f"# 住院号：Z0012345 病程记录\n\n## 联系人：李小明\n\n{passage(3)}\n",
            "rows.csv": "姓名,电话,诊断\n李小明,13800138000,高血压病二级高危组合并糖尿病\n",
            "short.txt": "姓名：李小明",
            "cut.csv": "名称,科室,别名\n电话13800138000...,内科,头风\n头痛,内科,头疼\n",
        },
    )
    good(folder, "--out", out)
    found = {row["source"]: row for row in rows(out)}
    assert set(found) == {"cut.csv", "note.md", "pairs.jsonl", "rows.csv"}
    assert [row["excerpt"] for row in trace(out, "empty_row")] == ["名称 is cut short: 电话[PHONE]..."]
    meta = json.loads(found["pairs.jsonl"]["meta"])
    assert "我的电话[PHONE]，" in found["pairs.jsonl"]["text"]
    assert "我的电话[PHONE]，" in meta["question"]
    assert "[EMAIL]" in meta["answer"]
    assert meta["fields"] == {"姓名": "[NAME]"}
    assert json.loads(found["rows.csv"]["meta"])["fields"]["姓名"] == "[NAME]"
    assert report(out)["pii"]["NAME"] >= 1
    everything = json.dumps([rows(out), trace(out), report(out)], ensure_ascii=False)
    assert trace(out, "too_short")
    assert [value for value in PERSONAL if value in everything] == []


def test_numbers_of_drugs_trials_and_papers_are_left_alone(tmp_path: Path, out: Path) -> None:
    text = f"{passage(4)}批准文号：国药准字H10983054，注册号 ChiCTR2000031234，见 10.1016/j.cell.2020.01.001。"
    good(write(tmp_path / "in", {"a.txt": text}), "--out", out)
    assert texts(out) == [text]


# Rules


def test_a_rule_that_drops_says_which_value_failed_which_threshold(tmp_path: Path, out: Path) -> None:
    folder = write(
        tmp_path / "in",
        {"a.txt": passage(1), "b.txt": "高血压", "c.txt": "1234567 ++++++ 7654321 ====="},
    )
    done = good(folder, "--out", out, "--json")
    assert texts(out) == [passage(1)]
    found = {row["source"]: row for row in trace(out)}
    assert (found["b.txt"]["step"], found["b.txt"]["rule"], found["b.txt"]["value"], found["b.txt"]["threshold"]) == (
        "rules",
        "too_short",
        3,
        10,
    )
    assert found["b.txt"]["excerpt"] == "高血压"
    assert found["c.txt"]["rule"] == "no_letters"
    assert sum(done.summary["dropped"].values()) == len(found) == 2


def test_no_rules_keep_every_row_with_its_values(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": passage(1), "b.txt": passage(1), "c.txt": "高血压", "d.txt": "1 2 3 + ="})
    exam = write(tmp_path, {"exam.txt": passage(1)}) / "exam.txt"
    done = good(folder, "--out", out, "--rules", "none", "--keep-values", "--decontaminate", exam, "--json")
    assert [row["source"] for row in rows(out)] == ["a.txt", "b.txt", "c.txt", "d.txt"]
    assert done.summary["dropped"] == {}
    assert done.summary["trace"] is None
    assert pq.read_schema(out).names == [*DOCUMENT.names, *SIGNALS]
    assert [row["characters"] for row in rows(out)] == [len(text) for text in texts(out)]


RECIPE = """
[curate]
keep-values = true
[curate.thresholds.zh]
too_short = 60
digits = false
long = {column = "characters", op = ">", threshold = 400}
"""


def test_a_recipe_sets_options_and_the_thresholds_of_single_rules(tmp_path: Path, out: Path) -> None:
    numbers = "化验结果的记录在下面是" * 4 + "3519824760" * 6
    folder = write(
        tmp_path / "in",
        {"a.txt": passage(1), "b.txt": passage(2, 1), "c.txt": passage(3, 40), "d.txt": numbers},
    )
    recipe = write(tmp_path, {"recipe.toml": RECIPE}) / "recipe.toml"
    good(folder, "--out", tmp_path / "default.parquet")
    assert [row["source"] for row in rows(tmp_path / "default.parquet")] == ["a.txt", "b.txt", "c.txt"]
    good(folder, "--out", out, "--recipe", recipe)
    assert [row["source"] for row in rows(out)] == ["a.txt", "d.txt"]
    assert {row["rule"]: row["threshold"] for row in trace(out)} == {"too_short": 60, "long": 400}
    assert "medical_density" in pq.read_schema(out).names


@pytest.mark.parametrize(
    "recipe, said",
    [
        ("[curate.thresholds.zh]\ntoo_shrt = 60\n", "did you mean 'too_short'?"),
        ("[curate.thresholds.zh]\ntoo_short = '60'\n", "too_short"),
        ("[curate.thresholds]\nzh = 3\n", "zh: a table of rules by name is needed"),
        ("[curate]\nthresholds = 3\n", "must be a table of rules"),
        ("[curate]\nthreshold = 3\n", "curate has no option threshold"),
        ("[unify]\n[unify.thresholds.zh]\n[curate]\nnear-treshold = 1\n", "did you mean near-threshold?"),
    ],
)
def test_a_mistake_in_a_recipe_is_refused_with_what_was_meant(
    tmp_path: Path, out: Path, recipe: str, said: str
) -> None:
    folder = write(tmp_path / "in", {"a.txt": passage(1)})
    done = here("curate", folder, "--out", out, "--recipe", write(tmp_path, {"r.toml": recipe}) / "r.toml")
    assert (done.code, said in done.line) == (2, True), done.stderr
    assert not out.exists()


def test_a_recipe_may_name_one_exam_without_a_list(tmp_path: Path, out: Path) -> None:
    write(tmp_path, {"in/a.txt": passage(1), "in/b.txt": passage(2), "exam.txt": passage(2, 1)})
    recipe = write(tmp_path, {"r.toml": f'[curate]\ndecontaminate = "{tmp_path / "exam.txt"}"\n'}) / "r.toml"
    good(tmp_path / "in", "--out", out, "--recipe", recipe)
    assert texts(out) == [passage(1)]


def test_a_lexicon_of_ones_own_decides_what_is_medical(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": "青囊奇术流传的年代久远，青囊奇术是民间的说法。" * 2})
    terms = write(tmp_path, {"terms.txt": "青囊奇术\n"}) / "terms.txt"
    built_in = tmp_path / "plain.parquet"
    good(folder, "--out", built_in, "--keep-values")
    good(folder, "--out", out, "--keep-values", "--lexicon", terms)
    assert rows(built_in)[0]["medical_density"] == 0
    assert rows(out)[0]["medical_density"] == pytest.approx(16 / len(texts(out)[0]), abs=1e-6)
    terms.write_text("民间\n", encoding="utf-8")
    assert command("curate", folder, "--out", out, "--keep-values", "--lexicon", terms).code == 0
    assert rows(out)[0]["medical_density"] == pytest.approx(4 / len(texts(out)[0]), abs=1e-6)


# Duplicates


def shingles(text: str) -> set[str]:
    """Character 5-grams of a text without white space."""
    solid = re.sub(r"\s", "", text)
    return {solid[place : place + 5] for place in range(len(solid) - 4)}


def jaccard(one: str, other: str) -> float:
    """Exact similarity of two texts."""
    first, second = shingles(one), shingles(other)
    return len(first & second) / len(first | second)


def test_exact_and_near_duplicates_name_their_twin_and_exact_similarity(tmp_path: Path, out: Path) -> None:
    text = passage(1, 12)
    near = text.replace("患者", "病人", 1)
    spaced = text.replace("。", "。\n\n")
    folder = write(tmp_path / "in", {"a.txt": text, "b.txt": passage(2, 12), "c.txt": spaced, "d.txt": near})
    done = good(folder, "--out", out, "--json")
    assert [row["source"] for row in rows(out)] == ["a.txt", "b.txt"]
    twin = rows(out)[0]["id"]
    found = {row["rule"]: row for row in trace(out)}
    assert set(found) == {"exact_duplicate", "near_duplicate"}
    assert done.summary["dropped"] == {"exact_duplicate": 1, "near_duplicate": 1}
    exact, like = found["exact_duplicate"], found["near_duplicate"]
    assert (exact["step"], exact["source"], exact["twin_id"], exact["similarity"]) == ("exact", "c.txt", twin, 1)
    assert (like["step"], like["source"], like["twin_id"]) == ("near", "d.txt", twin)
    assert 0.8 < jaccard(text, near) < 1
    assert like["similarity"] == pytest.approx(jaccard(text, near), abs=1e-9)
    assert [cluster["kept"]["id"] for cluster in report(out)["clusters"]] == [twin]


def test_every_step_tells_its_rows_its_bytes_and_its_time(tmp_path: Path, out: Path) -> None:
    texts = {"a.txt": passage(1, 12), "b.txt": passage(1, 12), "c.txt": "短。", "d.txt": passage(2, 12)}
    good(write(tmp_path / "in", texts), "--out", out)
    steps = report(out)["funnel"]
    assert [step[0] for step in steps] == [
        *(
            "cleaning",
            "redacting",
            "values",
            "keys",
            "boilerplate",
            "rules",
            "decontaminate",
            "exact",
            "near",
            "writing",
        ),
    ]
    assert [step[1:3] for step in steps] == [*[[4, 4]] * 5, [4, 3], [3, 3], [3, 2], [2, 2], [2, 2]]
    sizes = [len(text.encode()) for text in texts.values()]
    everything, long, distinct = sum(sizes), sum(sizes) - sizes[2], sizes[0] + sizes[3]
    assert [step[3] for step in steps] == [everything] * 6 + [long] * 2 + [distinct] * 2
    assert all(step[4] >= 0 for step in steps)
    good(tmp_path / "in", "--out", out)
    again = report(out)["funnel"]
    assert [step[:4] for step in again] == [step[:4] for step in steps]
    assert [step[4] for step in again[:5]] == [None] * 5, "what an earlier run had measured took no time"


def alike() -> list[dict[str, str]]:
    """The same text three times over with small differences: the oldest first, the longest in the middle."""
    text = passage(1, 12)
    return [
        {"text": text, "date": "2019-03-01"},
        {"text": text + "复查时带上记录的血压。", "date": "2021-07-15"},
        {"text": text.replace("患者", "病人", 1), "date": "2024-11-30"},
    ]


@pytest.mark.parametrize("keep, kept", [("source-order", 0), ("longest", 1), ("newest", 2)])
def test_keep_says_which_of_the_duplicates_stays(tmp_path: Path, out: Path, keep: str, kept: int) -> None:
    folder = write(tmp_path / "in", {"a.jsonl": jsonl(alike())})
    good(folder, "--out", out, "--keep", keep)
    assert texts(out) == [alike()[kept]["text"]]
    assert {row["twin_id"] for row in trace(out, "near_duplicate")} == {rows(out)[0]["id"]}
    assert len(trace(out, "near_duplicate")) == 2


def document(text: str, **more: Any) -> dict[str, Any]:
    """A Document record."""
    empty: dict[str, Any] = {
        **dict.fromkeys(DOCUMENT.names, ""),
        "section": [],
        "offset": 0,
        "language": "zh",
        "source_type": "web",
    }
    return {**empty, "id": f"id-{len(text)}-{text[:3]}", "text": text, **more}


def corpus(path: Path, documents: Sequence[dict[str, Any]]) -> Path:
    """A parquet of Document records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(documents), schema=DOCUMENT), path)
    return path


def test_priority_prefers_source_types(tmp_path: Path, out: Path) -> None:
    text, near = passage(1, 12), passage(1, 12).replace("患者", "病人", 1)
    given = corpus(
        tmp_path / "in.parquet",
        [
            document(text, id="web", source_type="web"),
            document(near, id="book", source_type="book"),
            document(passage(2), id="web-2", source_type="web"),
            document(passage(2), id="classic", source_type="classic"),
        ],
    )
    good(given, "--out", out, "--priority", "classic, book,web")
    assert [row["id"] for row in rows(out)] == ["book", "classic"]
    assert {row["id"]: row["twin_id"] for row in trace(out)} == {"web": "book", "web-2": "classic"}


def test_near_threshold_moves_the_line(tmp_path: Path, out: Path) -> None:
    text = passage(1, 12)
    half = passage(1, 12)[: len(text) * 7 // 10] + passage(2, 4)
    assert 0.45 < jaccard(text, half) < 0.75
    folder = write(tmp_path / "in", {"a.txt": text, "b.txt": half})
    good(folder, "--out", out)
    assert len(rows(out)) == 2
    lower = tmp_path / "lower.parquet"
    good(folder, "--out", lower, "--near-threshold", 0.4)
    assert len(rows(lower)) == 1
    assert trace(lower)[0]["similarity"] == pytest.approx(jaccard(text, half), abs=1e-9)


# Boilerplate


FOOTER = "本站内容仅供参考不能代替医生的诊断和治疗如有不适请及时到正规医院就诊咨询谢谢您的访问。"
DOSE = "成人常用量为口服阿莫西林一次 0.5 g，每六至八小时一次，一日剂量不超过 4 g，餐后服用。"
TABLE = "药名与成人的常用剂量一览表在此列出供查阅 | 阿莫西林胶囊的成人剂量 | 每次五百毫克每日三次口服"


def test_paragraphs_of_many_pages_of_one_host_go_and_doses_and_tables_stay(tmp_path: Path, out: Path) -> None:
    pages = [
        document(
            f"{passage(n, 4)}\n{FOOTER}\n{DOSE}\n{TABLE}\n{passage(n + 100, 4)}", source=f"https://a.example.org/{n}"
        )
        for n in range(12)
    ]
    few = [document(f"{passage(n, 8)}\n{FOOTER}", source=f"https://b.example.org/{n}") for n in range(200, 203)]
    good(corpus(tmp_path / "in.parquet", pages + few), "--out", out, "--keep-values", "--near-threshold", 1)
    found = rows(out)
    assert len(found) == 15
    for row, page in zip(found, pages + few, strict=True):
        gone = row["source"].startswith("https://a.")
        assert row["text"] == (page["text"].replace(FOOTER + "\n", "") if gone else page["text"])
        assert row["characters"] == len(row["text"])


def test_a_value_that_many_rows_share_is_no_boilerplate(tmp_path: Path, out: Path) -> None:
    cost = "根据不同医院，收费标准不一致，市三甲医院约五千元至一万元，以医院为准"
    table = "名称,病因,治疗费用\n" + "".join(f"疾病{n},{passage(n, 2)},{cost}\n" for n in range(20))
    good(write(tmp_path / "in", {"a.csv": table}), "--out", out)
    assert len(texts(out)) == 20
    assert all(text.endswith(f"治疗费用：{cost}") for text in texts(out))


def test_copies_of_one_page_make_no_boilerplate(tmp_path: Path, out: Path) -> None:
    page = f"{passage(1)}\n{FOOTER}"
    good(write(tmp_path / "in", {f"{n:02}.txt": page for n in range(12)}), "--out", out)
    assert texts(out) == [page]
    assert rules(out) == ["exact_duplicate"] * 11


# An earlier corpus


def test_against_drops_what_an_earlier_output_has_and_names_it(tmp_path: Path, out: Path) -> None:
    text, near = passage(1, 12), passage(1, 12).replace("患者", "病人", 1)
    earlier = tmp_path / "earlier.parquet"
    good(write(tmp_path / "old", {"a.txt": text, "b.txt": passage(2, 12)}), "--out", earlier)
    ids = [row["id"] for row in rows(earlier)]
    folder = write(tmp_path / "in", {"x.txt": near, "y.txt": passage(2, 12), "z.txt": passage(3, 12)})
    done = good(folder, "--out", out, "--against", earlier, "--json")
    assert [row["source"] for row in rows(out)] == ["z.txt"]
    found = {row["source"]: row for row in trace(out)}
    assert {row["rule"] for row in found.values()} == {"already_known"}
    assert (found["x.txt"]["step"], found["x.txt"]["twin_id"]) == ("near", ids[0])
    assert found["x.txt"]["similarity"] == pytest.approx(jaccard(text, near), abs=1e-9)
    assert (found["y.txt"]["step"], found["y.txt"]["twin_id"]) == ("exact", ids[1])
    assert done.summary["dropped"] == {"already_known": 2}


def test_an_earlier_corpus_that_cannot_be_compared_with_is_refused(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": passage(1), "broken.parquet.txt": passage(2)})
    pq.write_table(pa.table({"words": ["a"]}), tmp_path / "words.parquet")
    for name, said in (
        ("nowhere.parquet", "no such file"),
        ("in/a.txt", "not a readable parquet file"),
        ("words.parquet", "needs a column id"),
        ("corpus.parquet", "is the output itself"),
    ):
        if name == "corpus.parquet":
            corpus(out, [document(passage(1))])
        done = here("curate", folder, "--out", out, "--against", tmp_path / name)
        assert (done.code, said in done.line) == (2, True), done.stderr


# Exam items


STEM = "患者女性三十二岁反复上腹部节律性疼痛两年伴反酸嗳气进食后疼痛可缓解最可能的诊断是"
OPTIONS = ("十二指肠球部溃疡", "慢性浅表性胃炎", "急性胰腺炎发作期", "胆囊结石合并胆囊炎")
ITEM = {"id": "exam-7", "question": STEM, "options": dict(zip("ABCD", OPTIONS, strict=True)), "answer": "A"}
SAID, SHUFFLED = (
    STEM + "？" + "，".join(f"{letter}. {option}" for letter, option in zip("ABCD", order, strict=True))
    for order in (OPTIONS, OPTIONS[::-1])
)
MARKED = SAID.replace("反复", "，反复").replace("疼痛", "疼痛 、").replace("？", "……")
LEAKS = {
    "verbatim.txt": f"{passage(1)}\n{SAID}。\n{passage(2)}",
    "reordered.txt": f"{passage(3)}\n{SHUFFLED}。\n{passage(11)}",
    "punctuation.txt": f"{passage(4)}\n{MARKED}",
    "two-lines.txt": f"{passage(5)}\n\n{STEM[:20]}\n{STEM[20:]}？\n\n{passage(6)}",
}
CLEAN = {
    "clean-1.txt": f"{passage(7)}十二指肠球部溃疡的典型表现是节律性上腹部疼痛，进食后疼痛可缓解。{passage(8)}",
    "clean-2.txt": f"{passage(9)}急性胰腺炎与胆囊结石合并胆囊炎需要鉴别，二者都可以出现上腹部疼痛和发热。{passage(10)}",
}
EXAMS = {
    "exam.jsonl": jsonl([ITEM, {"id": "exam-8", "question": passage(500, 1), "answer": "是"}]),
    "exam.csv": f"id,question,A,B,C,D,answer\nexam-7,{STEM},{','.join(OPTIONS)},A\n",
    "exam.txt": f"1. {passage(500, 1)}\n2. {STEM}？\n",
}


@pytest.mark.parametrize("exam", EXAMS)
def test_planted_leaks_of_four_kinds_go_and_clean_passages_stay(tmp_path: Path, out: Path, exam: str) -> None:
    folder = write(tmp_path / "in", {**LEAKS, **CLEAN})
    path = write(tmp_path, {exam: EXAMS[exam]}) / exam
    done = good(folder, "--out", out, "--decontaminate", path, "--json")
    assert {row["source"] for row in rows(out)} == set(CLEAN)
    found = {row["source"]: row for row in trace(out)}
    assert set(found) == set(LEAKS)
    for name, row in found.items():
        assert (row["step"], row["rule"]) == ("decontaminate", "leak"), name
        assert 0.5 <= row["value"] <= 1, name
        assert row["threshold"] == 0.5
        assert row["excerpt"] in texts_of(LEAKS[name]), name
        assert "上腹部" in row["excerpt"], name
    ids = {row["twin_id"] for row in found.values()}
    assert ids == {"exam-7"} if exam != "exam.txt" else len(ids) == 1
    assert done.summary["dropped"] == {"leak": 4}
    assert "exam items" in done.stderr


def texts_of(text: str) -> str:
    """The text as curate leaves it, for a text whose lines are not wrapped."""
    from datatools.clean.normalise import normalise

    return normalise(text)


def test_an_exam_without_items_is_refused(tmp_path: Path, out: Path) -> None:
    write(tmp_path, {"in/a.txt": passage(1), "empty.jsonl": "", "broken.parquet": b"PAR1 cut"})
    for name in ("empty.jsonl", "broken.parquet"):
        done = here("curate", tmp_path / "in", "--out", out, "--decontaminate", tmp_path / name)
        assert (done.code, "no exam items there" in done.line) == (2, True), done.stderr
    done = here("curate", tmp_path / "in", "--out", out, "--decontaminate", tmp_path / "nowhere.jsonl")
    assert (done.code, "no such file" in done.line) == (2, True), done.stderr


# Inputs and the contract of the output


def test_the_output_is_a_file_of_documents(tmp_path: Path, out: Path) -> None:
    good(write(tmp_path / "in", {"a.txt": passage(1)}), "--out", out)
    schema = pq.read_schema(out)
    assert schema.metadata[b"datatools.schema"] == b"document/1"
    assert schema.equals(DOCUMENT)


def test_documents_come_through_as_they_were(tmp_path: Path, out: Path) -> None:
    given = [
        document(
            passage(n),
            id=f"own-{n}",
            title=f"书{n}",
            section=["上篇", f"第{n}章"],
            source=f"https://example.org/{n}",
            source_type="book",
            offset=n * 100,
            license="CC-BY-4.0",
            meta=json.dumps({"page": n}),
        )
        for n in range(3)
    ]
    good(corpus(tmp_path / "in.parquet", given), "--out", out)
    assert rows(out) == given
    again = tmp_path / "again.parquet"
    good(out, "--out", again)
    assert rows(again) == given


def test_ids_of_the_input_are_kept_and_a_repeated_one_is_numbered(tmp_path: Path, out: Path) -> None:
    one, two, three = (
        jsonl([{"id": name, "text": passage(10 * n + place)} for place, name in enumerate(names)])
        for n, names in enumerate(["ab", "ac", "a"])
    )
    good(write(tmp_path / "in", {"1.jsonl": one, "2.jsonl": two, "3.jsonl": three}), "--out", out)
    assert [row["id"] for row in rows(out)] == ["a", "b", "a#2", "c", "a#3"]


def test_several_inputs_are_read_in_the_order_given(tmp_path: Path, out: Path) -> None:
    write(tmp_path, {"one/a.txt": passage(1), "two/a.txt": passage(2), "c.jsonl": jsonl([{"text": passage(3)}])})
    done = good(tmp_path / "two", tmp_path / "c.jsonl", tmp_path / "one", "--out", out, "--json")
    assert [row["source"] for row in rows(out)] == ["two/a.txt", "c.jsonl", "one/a.txt"]
    assert texts(out) == [passage(2), passage(3), passage(1)]
    assert done.summary["inputs"] == [str(tmp_path / "two"), str(tmp_path / "c.jsonl"), str(tmp_path / "one")]


def test_limit_reads_so_many_documents(tmp_path: Path, out: Path) -> None:
    lines = jsonl([{"text": passage(n)} for n in range(9)])
    done = good(write(tmp_path / "in", {"a.jsonl": lines}), "--out", out, "--limit", 4, "--json")
    assert texts(out) == [passage(n) for n in range(4)]
    assert done.summary["rows_read"] == 4


def test_the_text_column_and_source_type_can_be_named(tmp_path: Path, out: Path) -> None:
    lines = jsonl([{"text": passage(n), "comment": passage(n + 50)} for n in range(2)])
    folder = write(tmp_path / "in", {"a.jsonl": lines})
    good(folder, "--out", out, "--text-column", "comment", "--source-type", "literature")
    assert texts(out) == [passage(50), passage(51)]
    assert {row["source_type"] for row in rows(out)} == {"literature"}


def test_the_json_summary_is_the_contract(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": passage(1), "b.txt": "高血压"})
    done = good(folder, "--out", out, "--json")
    summary = done.summary
    assert summary.pop("seconds") > 0
    assert summary == {
        "command": "curate",
        "inputs": [str(folder)],
        "rows_read": 2,
        "rows_written": 1,
        "dropped": {"too_short": 1},
        "failed": {},
        "requests": {"sent": 0, "cached": 0, "retried": 0},
        "requests_total": {"sent": 0, "retried": 0},
        "tokens": {"prompt": 0, "completion": 0},
        "cost": 0.0,
        "output": str(out),
        "trace": str(beside(out, "trace")),
        "failed_rows": None,
        "work": str(out.with_suffix(".work")),
    }


@pytest.mark.parametrize(
    "options, said",
    [
        (["--rules", "strict"], "--rules strict: must be default or none"),
        (["--keep", "oldest"], "--keep oldest: must be one of source-order, longest, newest"),
        (["--priority", "books"], "--priority books: must be source types"),
        (["--limit", "0"], "--limit 0: must be 1 or more"),
        (["--source-type", "poem"], "--source-type poem: must be one of web"),
        (["--near-threshold", "0"], "--near-threshold 0.0: must be above 0"),
        (["--near-threshold", "1.5"], "--near-threshold 1.5: must be above 0 and at most 1"),
        (["--lexicon", "nowhere.txt"], "nowhere.txt: the lexicon cannot be read"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, out: Path, options: list[str], said: str) -> None:
    done = here("curate", write(tmp_path / "in", {"a.txt": passage(1)}), "--out", out, *options, "--json")
    assert (done.code, said in done.line) == (2, True), done.stderr
    assert done.summary["error"] in done.line
    assert not files(out)
