"""Charts: bars and histograms whose numbers are those of the data."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from datatools.report.charts import Bin, bar, bars, bins, histogram, share, stacked

lengths = st.dictionaries(st.integers(0, 10**7), st.integers(1, 10**6), max_size=40)


@given(lengths)
def test_every_text_is_in_exactly_one_bin(counts: dict[int, int]) -> None:
    found = bins(counts.items())
    assert sum(bin.count for bin in found) == sum(counts.values())
    for bin in found:
        inside = sum(n for length, n in counts.items() if bin.low <= length and (bin.high is None or length < bin.high))
        assert inside == bin.count
    assert len(found) <= 14


@given(lengths)
def test_bins_touch_and_do_not_begin_empty(counts: dict[int, int]) -> None:
    found = bins(counts.items())
    assert all(left.high == right.low for left, right in pairwise(found))
    assert not found or found[0].count


def test_a_single_giant_does_not_squeeze_the_rest() -> None:
    found = bins([(5, 100), (10**9, 1)])
    assert found[-1].high is None
    assert found[-1].count == 1


def test_a_histogram_holds_its_numbers() -> None:
    drawn = histogram([Bin(0, 10, 1234), Bin(10, 20, 0), Bin(20, 50, 1)], "Length <of> texts")
    assert re.findall(r'data-value="(\d+)"', drawn) == ["1234", "0", "1"]
    assert "1,234" in drawn
    assert "Length &lt;of&gt; texts" in drawn
    assert drawn.count("<rect") == 3
    assert histogram([], "x") == ""


def test_one_of_many_is_still_seen() -> None:
    heights = re.findall(r'height="([\d.]+)">', histogram([Bin(0, 1, 10**6), Bin(1, 2, 1), Bin(2, 5, 0)], "x"))
    assert [float(height) for height in heights] == [100.0, 1.0, 0.0]


def test_bars_escape_their_labels() -> None:
    drawn = bars([("<script>x</script>", 3), ('"onerror=', 1)], 5, ("2 others", 1))
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
    assert "&#34;onerror=" in drawn
    assert re.findall(r'data-value="(\d+)"', drawn) == ["3", "1", "1"]
    assert "60.0 %" in drawn


def test_no_bar_is_longer_than_its_track() -> None:
    assert "width:100.00%" in bar(7, 5)
    assert "width:0.00%" in bar(0, 0)
    assert 'class="lost" style="width:25.00%"' in bar(1, 4, rest=1)
    assert bars([], 0) == '<div class="scroll"><table class="bars"><tbody></tbody></table></div>'


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_share_never_rounds_to_nothing_or_all(part: int, whole: int) -> None:
    part = min(part, whole)
    assert (share(part, whole) == "0 %") == (part == 0)
    assert (share(part, whole) == "100 %") == (part == whole)


def test_bands_fill_every_stretch_and_the_table_has_the_numbers():
    chart = stacked([("web <b>", (3, 0)), ("books", (1, 0))], "order")
    assert "web &lt;b&gt;" in chart and "<b>" not in chart
    assert chart.count("<path") == 2 and 'data-value="3">75.0 %' in chart
    first, second = re.findall(r'd="M([^"]*) Z"', chart)
    assert first.startswith("0.00,25.00 50.00,25.00") and "0.00,0.00 50.00,0.00" in second
    assert stacked([], "order") == ""
