"""XML: question-answer pages, articles, records, documents, and files made to do harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from datatools.io.source import Fault, ReadOptions, Source
from datatools.io.xml import list_lines, natural, read
from schemas.document import Document

PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="1" source="Example" url="http://example.org/x"><Focus>Dry Skin</Focus>
<FocusAnnotations><Synonyms><Synonym>Xerosis</Synonym><Synonym>Rough skin</Synonym></Synonyms></FocusAnnotations>
<QAPairs><QAPair pid="1"><Question qid="1-1" qtype="information">What is (are) Dry Skin ?</Question>
<Answer>Skin that lacks water.     Use a cream if       -  It itches    - It cracks</Answer></QAPair>
<QAPair pid="2"><Question qid="1-2" qtype="outlook">How long ?</Question><Answer> </Answer></QAPair></QAPairs>
</Document>"""


def found(text: str | bytes) -> list[Document | Fault]:
    data = text if isinstance(text, bytes) else text.encode()
    items = read(Source("a.xml", "a.xml", "xml", data=data), ReadOptions())
    return [item for item in items if isinstance(item, Document | Fault)]


def documents(text: str | bytes) -> list[Document]:
    return [item for item in found(text) if isinstance(item, Document)]


def test_question_answer_pages() -> None:
    page, fault = found(PAGE)
    assert isinstance(page, Document)
    assert (page.id, page.title, page.source_type, page.offset) == ("1-1", "Dry Skin", "encyclopedia", 1)
    assert page.meta["question"] == "What is Dry Skin?"
    assert page.meta["answer"] == "Skin that lacks water.\nUse a cream if\n- It itches\n- It cracks"
    assert page.meta["fields"]["synonyms"] == "Xerosis; Rough skin"
    assert page.meta["fields"]["url"] == "http://example.org/x"
    assert fault == Fault("a.xml:2", "answer is empty", rule="empty_row")


def test_lower_case_tags_are_pages_too() -> None:
    text = "<doc><doctitle-focus>Flu</doctitle-focus><qaPairs><pair><question qid='1'>What is flu?</question>"
    assert documents(text + "<answer>An infection.</answer></pair></qaPairs></doc>")[0].title == "Flu"


def test_lists_and_paragraphs_out_of_runs_of_spaces() -> None:
    assert list_lines("Key Points\n                    - One.     - Two.\n     \n\n  Body  of text.") == (
        "Key Points\n- One.\n- Two.\n\nBody of text."
    )
    assert list_lines("a well-known drug - rarely used") == "a well-known drug - rarely used"


def test_an_answer_does_not_begin_by_asking() -> None:
    page = documents(PAGE.replace("<Answer>Skin", "<Answer>What is dry skin? Skin"))[0]
    assert page.meta["answer"].startswith("Skin that lacks water.")
    assert page.meta["fields"]["heading"] == "What is dry skin?"


def test_a_page_without_questions_is_dropped() -> None:
    page = "<Document><Focus>Flu</Focus><QAPairs> </QAPairs></Document>"
    assert found(page) == [Fault("a.xml", "page without questions", rule="empty_row")]


def test_template_questions() -> None:
    assert natural("What is (are) Heart Diseases ?") == "What are Heart Diseases?"
    assert natural("What is (are) Diabetes ?") == "What is Diabetes?"


def test_pubmed_articles() -> None:
    article = """<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>7</PMID><Article>
    <Journal><Title>J</Title></Journal><ArticleTitle>Walking &amp; <i>falls</i></ArticleTitle>
    <Abstract><AbstractText Label="METHODS">A cohort.</AbstractText>
    <AbstractText Label="RESULTS">Fewer falls.</AbstractText></Abstract><Language>eng</Language></Article>
    </MedlineCitation></PubmedArticle><PubmedArticle><PMID>8</PMID><ArticleTitle>Empty</ArticleTitle></PubmedArticle>
    </PubmedArticleSet>"""
    first, second = found(article)
    assert isinstance(first, Document)
    assert (first.id, first.title, first.language) == ("7", "Walking & falls", "en")
    assert first.text == "METHODS: A cohort.\nRESULTS: Fewer falls."
    assert second == Fault("a.xml:2", "abstract is empty", rule="empty_row")


def test_journal_articles_with_namespaces_and_sections() -> None:
    article = """<article xmlns="http://example.org/ns"><front><article-meta>
    <article-id pub-id-type="doi">10.1/x</article-id>
    <title-group><article-title>Sleep</article-title></title-group><abstract><p>Short.</p></abstract></article-meta></front>
    <body><sec><title>Methods</title><p>We asked.</p><sec><title>People</title><p>Ten.</p>
    <list><list-item><p>old</p></list-item><list-item><p>young</p></list-item></list></sec></sec></body></article>"""
    read_back = documents(article)
    assert [(document.section, document.text) for document in read_back] == [
        (("Abstract",), "Short."),
        (("Methods",), "We asked."),
        (("Methods", "People"), "Ten.\n- old\n- young"),
    ]
    assert {document.title for document in read_back} == {"Sleep"}


def test_records_are_rows() -> None:
    text = "<list>" + "".join(
        f"<disease><name>病{n}</name><symptom>发热 乏力</symptom><drug>遵医嘱</drug></disease>" for n in range(3)
    )
    document = documents(text + "</list>")[0]
    assert (document.title, document.text) == ("病0", "name：病0\nsymptom：发热 乏力\ndrug：遵医嘱")


def test_any_other_document_by_its_titles() -> None:
    chapter = "<chapter><title>感冒</title><p>多喝水。</p><p>休息。</p></chapter>"
    text = f"<book><title>内科</title>{chapter}<p>尾声。</p></book>"
    assert [(d.title, d.section, d.text) for d in documents(text)] == [
        ("内科", ("感冒",), "多喝水。\n休息。"),
        ("内科", (), "尾声。"),
    ]
    assert documents("<note>只有 一句话。</note>")[0].text == "只有 一句话。"


@pytest.mark.parametrize(
    "declared, actual", [("gb2312", "gb18030"), ("GBK", "gbk"), ("UTF-16", "utf-16"), ("utf-8", "gb18030")]
)
def test_declared_encodings(declared: str, actual: str) -> None:
    text = (
        f'<?xml version="1.0" encoding="{declared}"?><a><title>題</title><p>'
        + "感冒多由病毒引起，休息几天就会好。" * 9
        + "</p></a>"
    )
    document = documents(text.encode(actual))[0]
    assert document.text.startswith("感冒多由病毒引起")
    assert document.meta["encoding"].startswith("gb18030" if "gb" in actual else actual)


def test_html_entities_are_understood() -> None:
    assert documents("<a>5&nbsp;&micro;g &lt; 1&deg;</a>")[0].text == "5 µg < 1°"


def test_external_entities_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET", encoding="utf-8")
    text = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}"><!ENTITY y "inside">]><a><p>before &y;</p><p>&x;</p></a>'
    try:
        read_back = " ".join(document.text for document in documents(text))
    except SyntaxError:
        return
    assert "SECRET" not in read_back


def test_entities_that_expand_without_end_raise() -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    with pytest.raises(SyntaxError):
        documents(f'<!DOCTYPE a [<!ENTITY l0 "ha">{levels}]><a>&l11;</a>')


def test_broken_xml_raises() -> None:
    with pytest.raises(SyntaxError):
        documents(PAGE[:300])


def test_real_pages(real_data: Path) -> None:
    read_back = [
        item for path in sorted((real_data / "medquad-xml").glob("*.xml"))[:300] for item in found(path.read_bytes())
    ]
    pages = [item for item in read_back if isinstance(item, Document)]
    assert len(pages) > 500
    assert not any("   " in page.meta["answer"] or "(are)" in page.meta["question"] for page in pages)
    assert all(page.title and page.id for page in pages)
