"""Priority sampling as an exponential race.

HuatuoGPT-II orders its corpus by drawing without replacement, each row with a probability in proportion to its priority
among those left. The same distribution comes from sorting by t = −ln(u) / priority with u uniform on (0, 1): a row with
priority p arrives at a time that is exponential with rate p, and the first of several to arrive is row i with
probability p_i / Σ p. With u a hash of seed, row id and copy the order needs no generator, has no largest number of
rows, and rows that are added or taken away leave the others in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]


def id_hashes(ids: Iterable[str | None]) -> Hashes:
    """xxh3-64 of every id; a null is an empty id."""
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest((id or "").encode("utf-8", "surrogatepass")) for id in ids), np.uint64)


def draws(hashes: Hashes, copies: npt.NDArray[np.integer], seed: int, purpose: str) -> Hashes:
    """64 even bits for every row and copy: the same for the same id, copy, seed and purpose, wherever it stands."""
    key = np.uint64(xxhash.xxh3_64_intdigest(f"{purpose} {seed}".encode()))
    return _scrambled(_scrambled(hashes ^ key) + copies.astype(np.uint64))


def arrivals(hashes: Hashes, copies: npt.NDArray[np.integer], seed: int, priority: float) -> npt.NDArray[np.float64]:
    """When every row arrives: −ln(u) / priority, greater than 0 and finite."""
    # 52 bits and a half: neither 0 nor 1, whose logarithms would be no times.
    u = ((draws(hashes, copies, seed, "order") >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return np.asarray(-np.log(u) / priority)


def expected(sizes: Sequence[float], priorities: Sequence[float], parts: int = 10) -> npt.NDArray[np.float64]:
    """The share of every source in each of `parts` equal stretches of the order, in the limit of many rows.

    At time t a source of n rows and priority p has given n (1 − exp(−p t)) of them. Shape (parts, sources).

    >>> expected([1, 1, 1, 1, 1], [32, 16, 8, 4, 1])[0].round(3).tolist()
    [0.502, 0.269, 0.139, 0.071, 0.018]
    """
    n, p = np.asarray(sizes, float), np.asarray(priorities, float)
    taken = [np.zeros(len(n))]
    for part in range(1, parts):
        low, high = 0.0, 1.0
        while (n * -np.expm1(-p * high)).sum() < n.sum() * part / parts:
            high *= 2
        for _ in range(80):
            middle = (low + high) / 2
            if (n * -np.expm1(-p * middle)).sum() < n.sum() * part / parts:
                low = middle
            else:
                high = middle
        taken.append(n * -np.expm1(-p * high))
    taken.append(n)
    given = np.diff(np.asarray(taken), axis=0)
    return np.asarray(given / given.sum(axis=1, keepdims=True))


def _scrambled(x: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every bit of the input changes half of the output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
