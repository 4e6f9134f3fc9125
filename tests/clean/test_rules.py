"""Rules decide in one place, say why, and can be changed from a recipe."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datatools.clean.quality import SIGNALS, Quality
from datatools.clean.rules import DEFAULT, RULE_SETS, Rule, decide, rules_from
from schemas.trace import TRACE

MODERN = "高血压是一种常见的慢性病，患者应当在医生的指导下服药，这样血压就能得到控制。平时要注意低盐饮食，适当运动。"
CLASSICAL = "太阳之为病，脉浮，头项强痛而恶寒。太阳病，发热，汗出，恶风，脉缓者，名为中风。"


def measured(texts: list[str | None], language: str | list[str | None]) -> pa.RecordBatch:
    languages = [language] * len(texts) if isinstance(language, str) else language
    rows = [str(number) for number in range(len(texts))]
    return Quality()(
        pa.record_batch({"id": rows, "source": ["a.txt"] * len(rows), "text": texts, "language": languages})
    )


def test_the_first_rule_that_fails_is_the_one_in_the_trace() -> None:
    batch = measured(["短", MODERN], "zh")
    rules = (Rule("short", "characters", "<", 60), Rule("shorter", "characters", "<", 5))
    kept, trace = decide(batch, rules)
    assert kept.tolist() == [False, True] if len(MODERN) >= 60 else [False, False]
    first = trace.to_pylist()[0]
    assert trace.schema.equals(TRACE)
    assert first["id"] == "0" and first["source"] == "a.txt" and first["step"] == "rules" and first["rule"] == "short"
    assert first["value"] == 1 and first["threshold"] == 60 and first["excerpt"] == "短" and first["twin_id"] is None


def test_rules_hold_for_their_languages_only() -> None:
    batch = measured(["短"] * 4, ["zh", "lzh", "fr", None])
    by_language = (
        Rule("zh_short", "characters", "<", 60, ("zh",)),
        Rule("other_short", "characters", "<", 60, ("other",)),
    )
    kept, trace = decide(batch, by_language)
    assert kept.tolist() == [False, False, False, False]
    assert trace["rule"].to_pylist() == ["zh_short", "other_short", "other_short", "other_short"]


def test_good_text_is_kept_and_rubbish_goes_with_a_reason() -> None:
    menu = "\n".join(f"栏目{number}" for number in range(30))
    rubbish = {
        "short_lines": menu,
        "duplicate_lines": "点击这里查看更多内容请登录\n" * 12,
        "no_letters": "－－－－－－－－ 12345 ＝＝＝＝＝＝＝＝ 67890 ＋＋＋＋",
        "mojibake": "é«˜è¡€åŽ‹æ˜¯ä¸€ç§å¸¸è§çš„æ…¢æ€§ç—…" * 3,
        "residue": "□□□□□□口□□□□者□□□□□□",
    }
    kept, trace = decide(measured([MODERN, *rubbish.values()], "zh"), DEFAULT)
    assert kept.tolist() == [True] + [False] * len(rubbish)
    assert trace["rule"].to_pylist() == list(rubbish)
    assert decide(measured([CLASSICAL], "lzh"), DEFAULT)[0].all()


def test_a_dosage_table_is_kept() -> None:
    table = "药名 | 剂量\n阿莫西林 | 0.5 g，3次/日\n白细胞 | 10⁹/L\n甲硝唑 | 0.4 g，2次/日\n布洛芬 | 0.2 g"
    assert decide(measured([table], "zh"), DEFAULT)[0].all()


def test_a_transcript_whose_speakers_stand_on_lines_of_their_own_is_kept() -> None:
    chat = "\n".join(f"{('病人', '医生')[turn % 2]}：\n{MODERN[turn * 2 : turn * 2 + 24]}" for turn in range(12))
    values = measured([chat], "zh")
    assert values["duplicate_line_share"][0].as_py() > 0.4
    assert decide(values, [rule for rule in DEFAULT if rule.name == "duplicate_lines"])[0].all()


def test_a_page_about_one_disease_may_repeat_its_name() -> None:
    chance = random.Random(4)
    words = (
        "growth skin trunk surgery margin years people rare slow patch firm deep follow because clinic tissue".split()
    )
    name = "dermatofibrosarcoma protuberans"
    page = " ".join(f"{name} {' '.join(chance.sample(words, 16))} of the and." for _ in range(12))
    values = measured([page], "en")
    assert len(page) > 1000
    assert 0.2 < values["top_2gram_share"][0].as_py() < 0.25
    assert decide(values, [rule for rule in DEFAULT if rule.name == "top_2grams"])[0].all()


def test_nulls_and_empty_tables() -> None:
    kept, trace = decide(measured([None, ""], "zh"), DEFAULT)
    assert not kept.any() and trace["rule"].to_pylist() == ["too_short", "too_short"]
    kept, trace = decide(measured([], "zh"), DEFAULT)
    assert len(kept) == 0 and trace.num_rows == 0
    nulls = pa.table({"id": ["a"], "characters": pa.array([None], pa.int32())})
    assert decide(nulls, [Rule("short", "characters", "<", 60)])[0].all()


def test_no_rules_keep_everything() -> None:
    assert decide(measured(["", "短"], "zh"), ())[0].all()


def test_every_default_rule_names_its_source_and_a_column() -> None:
    for language, rules in RULE_SETS.items():
        assert len({rule.name for rule in rules}) == len(rules)
        for rule in rules:
            assert rule.source and rule.column in SIGNALS and rule.languages == (language,)


def test_a_recipe_changes_adds_and_switches_off() -> None:
    new = {"column": "medical_density", "op": "<", "threshold": 0.01}
    rules = rules_from({"zh": {"too_short": 60, "digits": False, "unmedical": new}, "fr": {"too_short": 5}})
    zh = {rule.name: rule for rule in rules if rule.languages == ("zh",)}
    assert zh["too_short"].threshold == 60 and zh["too_short"].source == "recipe" and "digits" not in zh
    assert zh["unmedical"].column == "medical_density"
    assert any(rule.languages == ("fr",) and rule.threshold == 5 for rule in rules)
    assert rules_from({}) == DEFAULT


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"zh": {"too_shrt": 60}}, "did you mean 'too_short'"),
        ({"zh": {"x": {"column": "charcters", "op": "<", "threshold": 1}}}, "did you mean 'characters'"),
        ({"zh": {"x": {"column": "characters", "op": "=<", "threshold": 1}}}, "unknown operator '=<'"),
        ({"zh": {"too_short": {"treshold": 1}}}, "did you mean 'threshold'"),
        ({"zh": {"too_short": "60"}}, "a number, false or a table"),
        ({"zh": {"too_short": {"threshold": "60"}}}, "is no number"),
        ({"zh": 60}, "a table of rules"),
        ({"chinese": {}}, "unknown language"),
        ({"zh": {"too_shrt": False}}, "no such rule"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(recipe: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rules_from(recipe)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="unknown column 'charcters'; did you mean 'characters'"):
        decide(measured([MODERN], "zh"), [Rule("short", "charcters", "<", 60)])


def test_classical_sections_of_real_books_are_kept(real_data: Path) -> None:
    from datatools.clean.entries import entries
    from datatools.clean.normalise import normalise
    from datatools.io.files import discover
    from datatools.io.read import read
    from datatools.io.source import ReadOptions
    from schemas.document import Document

    sources = discover([str(real_data / "tcm-books-gb18030")])[0][::12]
    documents = [d for source in sources for d in read(source, ReadOptions()) if isinstance(d, Document)]
    texts = [normalise(entry.text) for document in documents for entry in entries(document)]
    texts = [text for text in texts if len(text) >= 60]
    kept, _ = decide(measured(list(texts), "lzh"), DEFAULT)
    assert len(texts) > 1000 and np.mean(kept) >= 0.85
