"""Signatures equal to datasketch's, bit for bit."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.dedupe.minhash import NOTHING, permutations, signatures
from datatools.dedupe.shingles import shingle_hash32, shingle_set

CHINESE = "本品为白色片剂，每片含阿莫西林0.25 g。用法用量：口服，成人一次0.5 g，每6～8小时1次，一日剂量不超过4 g。"
CLASSICAL = "病人身大热，反欲得近衣者，热在皮肤，寒在骨髓也；身大寒，反不欲近衣者，寒在皮肤，热在骨髓也。"
ENGLISH = "Patients with a history of hypersensitivity to penicillins should not receive amoxicillin 500 mg capsules."


def reference(text: str, count: int = 120, seed: int = 1) -> MinHash:
    sketch = MinHash(num_perm=count, seed=seed, scheme="affine32", hashfunc=shingle_hash32)
    sketch.update_batch([shingle.encode() for shingle in shingle_set(text)])
    return sketch


def assert_equal(texts: list[str], count: int = 120, seed: int = 1) -> None:
    found = signatures(pa.array(texts, pa.string()), count, seed=seed)
    assert found.dtype == np.uint32
    assert found.shape == (len(texts), count)
    for text, row in zip(texts, found, strict=True):
        assert np.array_equal(reference(text, count, seed).hashvalues, row), text


@pytest.mark.parametrize(("count", "seed"), [(120, 1), (128, 1), (1, 7), (13, 1), (256, 2**32 - 1)])
def test_permutations_are_drawn_as_datasketch_draws_them(count: int, seed: int) -> None:
    theirs = MinHash(num_perm=count, seed=seed, scheme="affine32").permutations
    assert np.array_equal(np.array(permutations(count, seed)), theirs)


@pytest.mark.parametrize(("count", "seed"), [(120, 1), (128, 1), (13, 5)])
def test_chinese_classical_and_english_equal_datasketch(count: int, seed: int) -> None:
    texts = [CHINESE, CLASSICAL, ENGLISH, CHINESE * 40, ENGLISH * 40, "", "口服", "orally", "　", "₂", "𠮷", "10⁹/L"]
    texts.append("AAAAA𐲀")  # a capital beyond the first plane stays one
    assert_equal(texts, count, seed)


def test_random_texts_equal_datasketch() -> None:
    draw = random.Random(20251120)
    alphabet = [chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(300)] + list("，。； \n0123456789abcdefgh")
    assert_equal(["".join(draw.choices(alphabet, k=draw.randrange(400))) for _ in range(60)])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), max_size=4))
@settings(deadline=None)
def test_any_unicode_equals_datasketch(texts: list[str]) -> None:
    assert_equal(texts, 16)


def test_texts_of_the_classics_equal_datasketch(real_data: Path) -> None:
    books = sorted((real_data / "tcm-books-gb18030").glob("*.txt"))[:8]
    texts = [book.read_bytes().decode("gb18030", "replace")[k : k + 700] for book in books for k in (0, 5000)]
    assert_equal(texts)


def test_a_text_without_shingles_has_the_signature_of_nothing() -> None:
    assert (signatures(pa.array(["", None, " \n"], pa.string())) == NOTHING).all()


def test_signatures_estimate_the_jaccard() -> None:
    changed = (CHINESE + CLASSICAL).replace("成人", "儿童")
    one, two = shingle_set(CHINESE + CLASSICAL), shingle_set(changed)
    rows = signatures(pa.array([CHINESE + CLASSICAL, changed]), 1000)
    assert abs((rows[0] == rows[1]).mean() - len(one & two) / len(one | two)) < 0.05


@pytest.mark.slow
def test_the_kernel_reads_chinese_faster_than_a_disk() -> None:
    texts = pa.array([CHINESE * 10 + str(number) for number in range(4000)])
    signatures(texts.slice(0, 10))

    def seconds() -> float:
        start = time.thread_time()
        signatures(texts)
        return time.thread_time() - start

    # Half of the figure on a quiet machine, in processor time: the test is for a kernel that stopped being compiled.
    assert texts.nbytes / min(seconds() for _ in range(3)) > 60e6


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/proc/nowhere", None])
def test_compiled_code_needs_no_writable_home(home: str | None, tmp_path: Path) -> None:
    code = (
        "import pyarrow as pa; from datatools.dedupe.minhash import signatures; "
        "print(int(signatures(pa.array(['桂枝汤方']))[0, 0]))"
    )
    place = home or str(tmp_path)
    environment = {**os.environ, "HOME": place, "XDG_CACHE_HOME": place}
    environment.pop("NUMBA_CACHE_DIR", None)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert int(run.stdout) == reference("桂枝汤方").hashvalues[0]
    assert any(tmp_path.rglob("*.nbi")) == (home is None)
