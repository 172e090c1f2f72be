"""Every model of the ONNX node tests prints and parses back exactly."""

import warnings

import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.serial.reader import read_model_bytes
from edgec.ir.text import parse_model, print_graph


@pytest.mark.slow
def test_node_cases_round_trip() -> None:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    done = 0
    for case in cases:
        try:
            model = read_model_bytes(case.model.SerializeToString())
        except Diagnostic:
            continue  # models that the reader refuses are its own tests' business
        text = print_graph(model)
        assert print_graph(parse_model(text)) == text, case.name
        done += 1
    assert done > 1500
