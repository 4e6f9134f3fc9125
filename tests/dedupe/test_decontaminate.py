"""Exam items are found in a corpus however they were copied, and medical prose that only sounds alike is not."""

from __future__ import annotations

import json
import pickle
import random
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.dedupe.decontaminate import EXCERPT, Leak, Limits, leaks, trace_row
from datatools.dedupe.examindex import Index, build
from datatools.dedupe.examitems import Item, items
from datatools.io.source import Fault
from schemas.records import EXAM_ITEM
from schemas.trace import TRACE

SYMPTOMS = "发热 咳嗽 胸痛 咯血 盗汗 乏力 心悸 水肿 腹痛 腹泻 便血 黄疸 头晕 呕吐 抽搐 皮疹 消瘦 呼吸困难".split()
DISEASES = "肺结核 肺炎 胸膜炎 心包炎 肝硬化 胃溃疡 胰腺炎 肾炎 脑膜炎 甲亢 贫血 白血病 痛风 糖尿病 心肌梗死".split()
SIGNS = "fever cough dyspnea fatigue oedema jaundice nausea vertigo syncope rash weakness haematuria".split()
ILLNESSES = "tuberculosis pneumonia pericarditis cirrhosis pancreatitis nephritis meningitis gout anaemia".split()


def chinese(seed: int) -> Item:
    r = random.Random(seed)
    complaints = f"{'、'.join(r.sample(SYMPTOMS, 5))}{r.randint(2, 30)}天"
    stem = f"患者，{r.choice('男女')}，{r.randint(20, 80)}岁，{complaints}，最可能的诊断是"
    return Item(f"zh{seed}", stem, tuple(r.sample(DISEASES, 5)), "own")


def short_chinese(seed: int) -> Item:
    """A stem shorter than an n-gram: only its options make it an item."""
    r = random.Random(seed)
    options = tuple("与".join(r.sample(DISEASES, 2)) for _ in range(5))
    return Item(f"short{seed}", f"{''.join(r.sample(SYMPTOMS, 2))}见于", options, "own")


def english(seed: int) -> Item:
    r = random.Random(seed)
    stem = (
        f"A {r.randint(20, 80)}-year-old {r.choice(['man', 'woman'])} presents with {', '.join(r.sample(SIGNS, 4))} of "
        f"{r.randint(2, 30)} days' duration. Which is the most likely diagnosis?"
    )
    return Item(f"en{seed}", stem, tuple(r.sample(ILLNESSES, 4)), "own")


def lettered(options: tuple[str, ...] | list[str]) -> list[str]:
    return [f"{'ABCDE'[k]}. {option}" for k, option in enumerate(options)]


def verbatim(item: Item, r: random.Random) -> str:
    return "\n".join([item.stem, *lettered(item.options)])


def reordered(item: Item, r: random.Random) -> str:
    return f"{item.stem}\n{' '.join(lettered(item.options[::-1]))}"


def repunctuated(item: Item, r: random.Random) -> str:
    marks = re.compile(r"[，、。．.,?？'-]")
    return marks.sub(lambda _: r.choice([" ", "，", "；", "。", "! "]), verbatim(item, r))


def split(item: Item, r: random.Random) -> str:
    text = verbatim(item, r)
    cut = text.find(" ", len(item.stem) // 2) if item.stem.isascii() else len(item.stem) // 2
    return f"{text[:cut]}\n\n{text[cut:]}"


def prose(r: random.Random, latin: bool) -> str:
    """A clean passage of the same words, with the boilerplate that any textbook has."""
    if latin:
        return " ".join(
            f"Patients with {r.choice(ILLNESSES)} may complain of {r.choice(SIGNS)} and {r.choice(SIGNS)}; "
            f"the most likely diagnosis depends on the {r.choice(SIGNS)}."
            for _ in range(8)
        )
    sentences = (
        f"{r.choice(DISEASES)}的临床表现包括{'、'.join(r.sample(SYMPTOMS, 3))}，"
        f"{r.choice(DISEASES)}的临床表现不包括{r.choice(SYMPTOMS)}。"
        for _ in range(8)
    )
    return "".join(sentences)


KINDS = [verbatim, reordered, repunctuated, split]
MAKERS: list[Callable[[int], Item]] = [chinese, short_chinese, english]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", MAKERS)
def test_planted_items_are_found_and_clean_passages_are_not(
    make: Callable[[int], Item], kind: Callable[[Item, random.Random], str]
) -> None:
    r = random.Random(7)
    planted = [make(seed) for seed in range(60)]
    index = build(planted)
    assert (len(index), index.skipped) == (60, 0)
    texts: list[str] = []
    for item in planted:
        before, after, clean = (prose(r, make is english) for _ in range(3))
        texts += [f"{before}\n{kind(item, r)}\n{after}", clean]
    found = leaks(texts, index)
    assert [leak.item if leak else None for leak in found[::2]] == [item.id for item in planted]
    assert not any(found[1::2])
    for text, item, leak in zip(texts[::2], planted, found[::2], strict=True):
        assert leak is not None and leak.coverage >= 0.5
        span = text[leak.start : leak.end]
        assert item.stem[-4:-1] in "".join(span.split()) and len(span) <= len(verbatim(item, r)) + 12


def test_stem_alone_counts_and_so_does_any_writing_of_it() -> None:
    item = chinese(1)
    index = build([item])
    for text in (
        item.stem,
        item.stem.replace("，", ""),
        item.stem.translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0123456789"}),
        f"问：{item.stem}（　）\n答：{item.options[0]}。",
    ):
        (leak,) = leaks([text], index)
        assert leak is not None and leak.coverage == 1.0
    assert leaks([item.stem[:14]], index) == [None]


def test_traditional_and_decomposed_text_is_the_same() -> None:
    zh, en = (
        Item("1", "發熱惡寒、頭項強痛而脈浮者，應當辨為何證"),
        Item("2", "Sjögren syndrome is best treated in naïve patients by which drug"),
    )
    index = build([zh, en])
    found = leaks(["发热恶寒，头项强痛而脉浮者应当辨为何证？", unicodedata.normalize("NFD", en.stem.upper())], index)
    assert [leak and (leak.item, leak.coverage) for leak in found] == [("1", 1.0), ("2", 1.0)]


def test_a_long_run_is_enough() -> None:
    stem = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))
    index = build([Item("long", stem)])
    assert leaks([stem[10:39]], index) == [None]
    (leak,) = leaks([f"前文{stem[10:40]}后文"], index)
    assert leak == Leak("long", "", 18 / 88, 30, 2, 32)
    assert leaks([stem[10:40]], index, Limits(run=(31, 20))) == [None]


def test_n_grams_scattered_over_a_book_do_not_add_up() -> None:
    stem = "".join(map(chr, range(0x4E00, 0x4E00 + 60)))
    pieces = [stem[k : k + 16] for k in range(0, 60, 10)]
    assert leaks([("另一段无关的文字在这里占据很多位置" * 20).join(pieces)], build([Item("x", stem)])) == [None]


def test_spans_are_right_in_texts_longer_than_a_slice_and_beside_others() -> None:
    item, filler = chinese(3), "这是很长的一段文字，abc 与考题没有关系。"
    for length in (65_500, 65_530, 131_000):
        text = (filler * (length // len(filler) + 1))[:length] + item.stem + filler
        none, leak, empty, missing = leaks(["短文", text, "", None], build([item]))
        assert none is empty is missing is None
        assert leak is not None and text[leak.start : leak.end] + "是" in (item.stem, item.stem + "是")


def test_nothing_is_found_across_two_texts() -> None:
    stem = chinese(4).stem
    assert leaks([stem[:15], stem[15:]], build([chinese(4)])) == [None, None]


def test_items_shorter_than_an_n_gram_are_counted_as_skipped() -> None:
    index = build([Item("a", "感冒是指", ("风", "寒")), Item("b", ""), Item("c", "What is it?"), chinese(1)])
    assert (len(index), index.skipped) == (1, 3)
    empty = build([])
    assert leaks(["任何文字"], empty) == [None]


def test_the_index_is_the_same_from_a_file_and_through_pickle(tmp_path: Path) -> None:
    planted = [chinese(k) for k in range(20)] + [english(k) for k in range(20)]
    index = build(planted)
    index.save(tmp_path / "exam.index")
    texts = pa.array([verbatim(item, random.Random(0)) for item in planted] + [None])
    for other in (Index.open(tmp_path / "exam.index"), pickle.loads(pickle.dumps(index))):
        assert leaks(texts, other) == leaks(texts, index)
        assert other.skipped == index.skipped
        assert all(np.array_equal(other.arrays[name], index.arrays[name]) for name in index.arrays)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other")
    with pytest.raises(ValueError, match=r"other|Arrow"):
        Index.open(tmp_path / "other")


def test_the_trace_names_item_value_and_span() -> None:
    text = f"前文。{chinese(1).stem}"
    (leak,) = leaks([text], build([chinese(1)]))
    assert leak is not None
    row = trace_row("d1", "book.txt", text, leak)
    assert list(row) == TRACE.names
    assert pa.Table.from_pylist([row], schema=TRACE).num_rows == 1
    assert (row["rule"], row["value"], row["threshold"], row["twin_id"]) == ("leak", 1.0, 0.5, "zh1")
    assert row["excerpt"] == text[leak.start : leak.end][:EXCERPT]
    assert row["excerpt"].startswith("患者") and row["excerpt"] in chinese(1).stem


OPTIONS = ("原发病的种类和轻重", "出血的部位", "出血量")
STEM = "上消化道出血可单纯表现为呕血或黑便，这取决于"


def write_xlsx(path: Path, rows: list[list[str]]) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


SHAPES = "exam.parquet cmexam.jsonl cmexam.xlsx cmmlu.csv medqa.jsonl medmcqa.jsonl hidden.jsonl hidden.csv list.txt"


@pytest.mark.parametrize("name", SHAPES.split())
def test_items_of_many_shapes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    escaped = "\\n".join(f"{'ABC'[k]} {option}" for k, option in enumerate(OPTIONS))
    cmexam = {"Question": STEM, "Options": escaped, "Answer": "C", "Explanation": "略"}
    letters = dict(zip("ABC", OPTIONS, strict=True))
    columns = ["Question", *"ABC"]
    records = {
        "cmexam.jsonl": cmexam,
        "medqa.jsonl": {"question": STEM, "answer": OPTIONS[2], "options": letters, "answer_idx": "C"},
        "medmcqa.jsonl": {"question": STEM, "opa": OPTIONS[0], "opb": OPTIONS[1], "opc": OPTIONS[2], "cop": 2},
        "hidden.jsonl": {"question": STEM, "options": list(OPTIONS)},
    }
    if name in records:
        path.write_text("".join(json.dumps(records[name], ensure_ascii=False) + "\n" for _ in range(2)), "utf-8")
    elif name == "cmexam.xlsx":
        write_xlsx(path, [list(cmexam), *[list(cmexam.values())] * 2])
    elif name == "exam.parquet":
        row = {
            "id": "7",
            "question": STEM,
            "options": list(letters.items()),
            "answer": ["C"],
            "explanation": "",
            "exam": "E",
        }
        pq.write_table(pa.Table.from_pylist([row], schema=EXAM_ITEM), path)
    elif name == "list.txt":
        path.write_text(f"1. {STEM}\n" + "\n".join(lettered(OPTIONS)) + f"\n\n2、{STEM}？\n", "utf-8")
    else:
        answer = name == "cmmlu.csv"
        lines = [[*columns, *["Answer"] * answer], *[[STEM, *OPTIONS, *["C"] * answer]] * 2]
        path.write_text("\n".join(",".join(cells) for cells in lines) + "\n", "utf-8")
    found = list(items([str(path)]))
    first = found[0]
    assert isinstance(first, Item), found
    assert (first.stem, first.options) == (STEM, OPTIONS)
    assert (first.id, first.exam) == ("7", "E") if name == "exam.parquet" else (len(first.id), first.exam) == (32, name)
    assert not any(isinstance(item, Fault) for item in found)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "broken.txt.gz").write_bytes(b"\x1f\x8b nothing")
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"question": STEM, "answer": "出血量"}) + "\n{broken\n", "utf-8")
    found = list(items([str(tmp_path)]))
    assert [item.stem for item in found if isinstance(item, Item)] == [STEM]
    assert len([item for item in found if isinstance(item, Fault)]) == 3


@given(st.lists(st.text(), max_size=5), st.lists(st.text(max_size=20), max_size=3), st.text(max_size=40))
def test_never_raises_and_spans_lie_in_the_text(texts: list[str], options: list[str], stem: str) -> None:
    index = build([Item("x", stem, tuple(options)), chinese(1)])
    texts.append("\n".join([stem, *options]))
    for text, leak in zip(texts, leaks(texts, index), strict=True):
        assert leak is None or 0 <= leak.start < leak.end <= len(text)
    if len(index) == 2:
        assert leaks(texts, index)[-1] is not None


@given(st.integers(0, 10**6), st.lists(st.integers(1, 400), max_size=4))
def test_how_texts_are_grouped_makes_no_difference(seed: int, lengths: list[int]) -> None:
    index = build([chinese(seed), english(seed)])
    texts = [prose(random.Random(length), False)[:length] + chinese(seed).stem for length in lengths] + [
        english(seed).stem
    ]
    assert leaks(texts, index) == [leaks([text], index)[0] for text in texts]


def test_real_exam_items_in_real_textbooks(real_data: Path) -> None:
    exam = [item for item in items([str(real_data / "exam" / "cmexam-val.jsonl")]) if isinstance(item, Item)]
    index = build(exam)
    assert len(index) + index.skipped == len(exam) > 3000
    assert index.skipped < 20
    books = [path.read_text(encoding="utf-8") for path in sorted((real_data / "textbooks-tex").glob("*.tex"))[::3]]
    passages = [text for book in books for text in re.split(r"\n\s*\n", book) if len(text) > 100]
    flagged = sum(leak is not None for leak in leaks(passages, index))
    assert flagged <= 0.002 * len(passages)
    r = random.Random(1)
    asked = [item for item in exam if len(item.stem + "".join(item.options)) > 20][::5]
    for kind in KINDS:
        texts = [f"{r.choice(passages)}\n{kind(item, r)}\n{r.choice(passages)}" for item in asked]
        found = sum(leak is not None for leak in leaks(texts, index))
        assert found >= 0.995 * len(asked), kind.__name__
