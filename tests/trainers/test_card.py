"""The model card: what it says is what the files hold."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from schemas.conversation import CONVERSATION
from schemas.document import DOCUMENT
from schemas.records import PREFERENCE
from trainers.card import describe, write_card


def conversations(path: Path) -> Path:
    rows = [
        {
            **dict.fromkeys(CONVERSATION.names),
            "id": str(number),
            "messages": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}],
            "generator": "rules" if number % 3 else "physician|7b",
            "prompt": "unify.answer.zh@2#ab12",
            "language": "zh" if number else "en",
            "flags": ["leakage"] if number == 4 else [],
        }
        for number in range(10)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=CONVERSATION), path)
    return path


def front_matter(card: str) -> dict[str, object]:
    return yaml.safe_load(card.split("---\n")[1])


def test_what_is_said_of_a_file_is_counted_in_it(tmp_path: Path):
    path = conversations(tmp_path / "sft.parquet")
    found = describe(path)
    assert (found.name, found.rows, found.bytes) == ("sft.parquet", 10, path.stat().st_size)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.record == "conversation/1"
    assert found.counts["generator"] == {"rules": 6, "physician|7b": 4}
    assert found.counts["prompt_id"] == {"unify.answer.zh@2#ab12": 10}
    assert (found.flags, found.checked) == ({"leakage": 1}, 10)


def test_licences_come_from_rows_and_from_the_file(tmp_path: Path):
    rows = [{**dict.fromkeys(DOCUMENT.names), "text": "x", "license": name} for name in ("CC0", "CC0", "CC-BY-4.0", "")]
    table = pa.Table.from_pylist(rows, schema=DOCUMENT)
    pq.write_table(table.replace_schema_metadata({b"license": b"mixed"}), tmp_path / "a.parquet")
    found = describe(tmp_path / "a.parquet")
    assert found.counts["license"] == {"CC0": 2, "CC-BY-4.0": 1}
    assert found.licences == ("mixed",)


def test_preference_pairs_have_turns_where_a_conversation_names_its_prompt(tmp_path: Path):
    turns = [{"role": "user", "content": "?"}]
    row = {**dict.fromkeys(PREFERENCE.names), "prompt": turns, "chosen": turns, "rejected": turns, "judge": "rules"}
    pq.write_table(pa.Table.from_pylist([row], schema=PREFERENCE), tmp_path / "dpo.parquet")
    found = describe(tmp_path / "dpo.parquet")
    assert "prompt_id" not in found.counts and found.counts["judge"] == {"rules": 1}


def test_json_lines_and_files_without_any_of_the_columns(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"messages": [], "generator": "m"}\n\n{"messages": []}\n', encoding="utf-8")
    assert describe(tmp_path / "a.jsonl").counts == {"generator": {"m": 1}}
    assert describe(tmp_path / "a.jsonl").rows == 2
    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "t.parquet")
    assert describe(tmp_path / "t.parquet").rows == 2


def test_a_list_and_a_compressed_file_are_counted_as_they_are_trained(tmp_path: Path):
    """The card is written when all is trained: nothing may stop it then that was read before."""
    rows = [{"text": "a", "generator": "m"}, {"text": "b"}]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    for name in ("a.json", "a.jsonl.gz"):
        found = describe(tmp_path / name)
        assert (found.rows, found.counts) == (2, {"generator": {"m": 1}})


def test_a_broken_file_is_named(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.jsonl:2"):
        describe(tmp_path / "a.jsonl")
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"a\.parquet"):
        describe(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no such file"):
        describe(tmp_path / "missing.parquet")


def test_the_card_holds_command_settings_and_data(tmp_path: Path):
    data = describe(conversations(tmp_path / "sft.parquet"))
    command = ["datatools", "train", "my data.parquet", "--model", "org/base", "--out", "runs/x"]
    settings = {"method": "lora", "epochs": 3, "learning_rate": 2e-4, "reports": None}
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    write_card(run, command=command, stage="sft", base_model="org/base", data=[data], settings=settings)
    card = (run / "README.md").read_text(encoding="utf-8")
    assert front_matter(card) == {
        "library_name": "peft",
        "base_model": "org/base",
        "pipeline_tag": "text-generation",
        "language": ["zh", "en"],
        "tags": ["datatools", "medical", "sft"],
    }
    assert "datatools train 'my data.parquet' --model org/base --out runs/x" in card
    assert data.sha256 in card and "| learning_rate | 0.0002 |" in card
    assert "`physician\\|7b` 4" in card  # a bar in a name does not break the table
    assert "flags on 10 rows: `leakage` 1" in card
    assert "not stated in the file" in card  # conversations name no licence


def test_a_folder_as_base_model_is_no_hub_id(tmp_path: Path):
    for base in (str(tmp_path), "./models/base", "base"):
        write_card(tmp_path, command=["datatools"], stage="rm", base_model=base, data=[], settings={})
        found = front_matter((tmp_path / "README.md").read_text(encoding="utf-8"))
        assert "base_model" not in found and "pipeline_tag" not in found
        assert json.dumps(found)


def test_a_json_list_is_described_as_json_lines_are(tmp_path: Path):
    rows = [{"messages": [], "generator": "m"}, {"messages": []}]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    found = describe(tmp_path / "a.json")
    assert (found.rows, found.counts) == (2, {"generator": {"m": 1}})


def test_the_card_says_how_many_rows_were_trained_on(tmp_path: Path):
    data = describe(conversations(tmp_path / "sft.parquet"))
    said = {"steps": "60", "loss at the last": "0.1"}
    about = {"command": ["datatools"], "stage": "sft", "base_model": "b", "data": [data], "settings": {}}
    write_card(tmp_path, **about, came_of_it=said, rows="7 rows (of 10; the others were too long)")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "on 7 rows (of 10; the others were too long) of one file." in card
    assert "## Training\n\n|  |  |\n|---|---|\n| steps | 60 |" in card
