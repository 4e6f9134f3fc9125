"""One request a host, in turn; the pace follows the slower of wish and host."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datatools.crawl.frontier import Frontier, Link, Pace


def test_a_host_has_one_request_under_way() -> None:
    frontier = Frontier(1.0)
    for url in ("http://a.cn/1", "http://a.cn/2", "http://b.cn/1"):
        frontier.push(Link(url))
    taken = [frontier.pop(), frontier.pop()]
    assert [link.url for link in taken if link] == ["http://a.cn/1", "http://b.cn/1"] and frontier.pop() is None
    frontier.release("a.cn")
    second = frontier.pop()
    assert second is not None and second.url == "http://a.cn/2" and frontier.size == 0


@given(st.lists(st.tuples(st.sampled_from(["push", "first", "pop", "release", "drop"]), st.sampled_from("abc"))))
def test_nothing_is_lost_and_no_host_is_asked_twice_at_once(steps: list[tuple[str, str]]) -> None:
    frontier, pushed, popped, busy = Frontier(0.0), 0, 0, set()
    for step, host in steps:
        if step in ("push", "first"):
            frontier.push(Link(f"http://{host}/{pushed}"), first=step == "first")
            pushed += 1
        elif step == "pop" and (link := frontier.pop()):
            assert link.url[7] not in busy
            busy.add(link.url[7])
            popped += 1
        elif step == "release" and host in busy:
            busy.discard(host)
            frontier.release(host)
        elif step == "drop":
            pushed -= frontier.drop(host)
        assert frontier.size == pushed - popped
    for host in busy:
        frontier.release(host)
    while link := frontier.pop():
        frontier.release(link.url[7])
        popped += 1
    assert popped == pushed and frontier.size == 0


def test_the_pace_slows_at_once_and_quickens_slowly() -> None:
    pace = Pace(1.0, 1.0)
    pace.answered(0.0, 5.0, 200)
    assert pace.delay == 5.0 and pace.ready == 5.0
    pace.answered(10.0, 1.0, 200)
    assert pace.delay == 3.0
    pace.answered(20.0, 0.0, 404)
    assert pace.delay == 3.0, "errors are quick, and no reason to hurry"
    for _ in range(20):
        pace.answered(30.0, 0.0, 200)
    assert pace.delay == 1.0


def test_a_site_s_longer_delay_wins_even_above_a_minute() -> None:
    pace = Pace(1.0, 1.0)
    pace.wish(90.0)
    pace.answered(0.0, 0.1, 200)
    assert pace.delay == 90.0
    pace.wish(0.1)
    pace.answered(0.0, 0.1, 200)
    assert pace.delay == 90.0
    pace.pause(100.0, 500.0)
    assert pace.ready == 600.0
