"""`edgec cost --lengths`: padding and buckets, priced by the cost model; files of lengths; bad input."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgec.costmodel.analysis.padding import best_buckets, bucket_padding, expected_price, padding_overhead
from edgec.driver.cost_lengths import parse_lengths
from edgec.ir.diagnostics import Diagnostic

Run = Callable[..., tuple[int, str, str]]
LENGTHS = (12, 40, 33, 512, 100, 60, 64, 80, 90, 33)
FIXED = ("--dim", "batch=2,past=1", "--length-dim", "sequence")


@pytest.fixture
def llm(tmp_path: Path) -> Path:
    """The sizes of a small decoder."""
    path = tmp_path / "llm.toml"
    path.write_text("layers = 2\nhidden = 128\nheads = 4\nintermediate = 320\nvocabulary = 500\n")
    return path


def padding(edgec: Run, *arguments: object) -> dict:
    status, out, err = edgec("cost", *arguments, "--json")
    assert status == 0, err
    return json.loads(out)["analysis"]["padding"]


def test_the_best_buckets_are_those_of_brute_force(edgec: Run, llm: Path) -> None:
    text = ",".join(map(str, LENGTHS))
    found = padding(edgec, llm, "--target", "orin-nano", *FIXED, "--lengths", text, "--buckets", "3")
    prices = {size: s[1] for size, s in zip(found["candidates"]["lengths"], found["candidates"]["seconds"], strict=True)}
    sizes = sorted(set(LENGTHS))
    costs = {}
    for k in range(3):
        for chosen in itertools.combinations(sizes[:-1], k):
            limits = (*chosen, sizes[-1])
            costs[limits] = sum(prices[min(limit for limit in limits if limit >= length)] for length in LENGTHS) / len(LENGTHS)
    best = min(costs, key=costs.__getitem__)
    assert found["after"]["limits"] == list(best) and found["after"]["seconds"][1] == pytest.approx(costs[best])
    assert found["before"]["seconds"][1] == pytest.approx(prices[512]) and found["saved"] > 0.5
    assert found["before"]["padding_exact"] == str(1 - Fraction(sum(LENGTHS), 512 * len(LENGTHS))) == "4/5"
    assert sum(found["after"]["items"]) == found["items"] == len(LENGTHS)
    assert found["unpadded"][1] <= found["after"]["seconds"][1] < found["before"]["seconds"][1]
    for part in ("before", "after"):
        low, expected, high = found[part]["seconds"]
        assert low < expected < high


def test_prices_are_predictions_of_single_points(edgec: Run, llm: Path) -> None:
    found = padding(edgec, llm, "--target", "orin-nano", *FIXED, "--lengths", "16,48", "--buckets", "1")
    status, out, _ = edgec("cost", llm, "--target", "orin-nano", "--dim", "batch=2,past=1,sequence=48", "--json")
    assert status == 0 and found["batch"] == 2
    assert found["before"]["seconds"] == pytest.approx([s / 2 for s in json.loads(out)["seconds"]])
    assert found["after"]["limits"] == [48] and found["saved"] == 0


def test_files_of_lengths(edgec: Run, llm: Path, tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text("length,count\n# measured in May\n12,3\n40, 1\n\n12\n")
    assert parse_lengths(str(path)) == {12: 4, 40: 1}
    found = padding(edgec, llm, "--target", "orin-nano", *FIXED, "--lengths", path, "--length-multiple", "8")
    assert found["items"] == 5 and found["distinct"] == 2 and found["after"]["limits"] == [16, 40]
    assert found["after"]["padding_exact"] == str(1 - Fraction(4 * 12 + 40, 4 * 16 + 40))
    status, out, _ = edgec("cost", llm, "--target", "orin-nano", *FIXED, "--lengths", path)
    assert status == 0 and "5 items, sequence 17.6 on average and at most 40, 2 items at a time" in out and "best of 2 buckets" in out


def test_the_only_dimension_beside_the_batch_has_the_lengths(edgec: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.edgec"
    path.write_text(
        'edgec 1\nopsets {"": 17}\nir_version 8\n\ngraph main {\n  input %x: f32[batch, length, 8]\n  %y = Relu(%x) @"r"\n  return %y\n}\n'
    )
    found = padding(edgec, path, "--target", "orin-nano", "--dim", "batch=4", "--lengths", "100,200")
    assert found["symbol"] == "length" and found["batch"] == 4


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (("--lengths", "12,x", "--length-dim", "sequence"), "E0805", "neither a list nor a file"),
        (("--lengths", "", "--length-dim", "sequence"), "E0805", "neither a list nor a file"),
        (("--lengths", "12,0", "--length-dim", "sequence"), "E0805", "from 1 on"),
        (("--lengths", "12", "--length-dim", "sequenc"), "E0801", "did you mean 'sequence'?"),
        (("--lengths", "12"), "E0801", "batch, sequence, past"),
    ],
)
def test_bad_input_is_explained(edgec: Run, llm: Path, arguments: tuple[str, ...], code: str, words: str) -> None:
    status, _, err = edgec("cost", llm, "--target", "orin-nano", "--dim", "batch=2,past=1", *arguments)
    assert status == 2 and f"error[{code}]" in err and words in err, err


@pytest.mark.parametrize("content, words", [("", "no lengths"), ("12\nx\n", "line 2"), ("1,2,3\n", "3 fields"), ("length\n-4\n", "line 2")])
def test_bad_files_are_explained(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "lengths.txt"
    path.write_text(content)
    with pytest.raises(Diagnostic) as caught:
        parse_lengths(str(path))
    assert caught.value.code == "E0805" and words in str(caught.value)


def test_lengths_need_a_target(edgec: Run, llm: Path) -> None:
    status, _, err = edgec("cost", llm, "--symbolic", "--lengths", "12")
    assert status == 2 and "--target" in err


@given(st.dictionaries(st.integers(1, 300), st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5))
def test_shares_of_padding_are_exact(lengths: dict[int, int], count: int) -> None:
    found = best_buckets(lengths, count)
    flat = [length for length, n in lengths.items() for _ in range(n)]
    assert bucket_padding(lengths, (max(flat),)) == padding_overhead(flat)
    assert float(bucket_padding(lengths, found.limits)) == pytest.approx(found.padding)
    assert expected_price(lengths, found.limits, float) == pytest.approx(found.price)


def test_thousands_of_lengths_are_quick() -> None:
    began = time.process_time()
    found = best_buckets({length: 1.0 for length in range(1, 3001)}, 8, lambda n: float(n * n))
    assert len(found.limits) == 8 and time.process_time() - began < 5
