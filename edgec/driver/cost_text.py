"""What `edgec cost` prints for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .console import quantity, sized, table

Facts = Mapping[str, Any]


def seconds_text(value: float) -> str:
    """A time with a fitting unit.

    >>> seconds_text(0.00123), seconds_text(2.5e-7), seconds_text(12.0)
    ('1.23 ms', '0.25 us', '12 s')
    """
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-6:.3g} us"


def _range(values: Sequence[float], text: Any) -> str:
    low, expected, high = values
    return f"{text(expected)} [{text(low)}, {text(high)}]"


def _joules(value: float) -> str:
    return f"{value * 1e3:.3g} mJ" if value < 1 else f"{value:.3g} J"


def cost_text(document: Facts, top: int, every_fusion: bool) -> str:
    """The report of one target."""
    analysis = document["analysis"]
    dims = ", ".join(f"{name}={size}" for name, size in {**document["dims"], **document["assumed"]}.items())
    before, after = document["node_count"]
    head = f"{document['model']} on {document['target']} ({document['engine']}), {document['precision']}" + (f", {dims}" if dims else "")
    nodes = f"{before} nodes, {after} optimised" if document["optimized"] else f"{before} nodes as they are"
    power = document["joules"][1] / document["seconds"][1] if document["seconds"][1] else 0.0
    shares = ", ".join(f"{name} {share:.0%}" for name, share in _sorted(analysis["bound_shares"]) if share >= 0.005)
    lines = [
        head,
        f"  {nodes}, {len(document['nodes'])} kernels ({analysis['kernels']}); tier {document['tier']}; 90 % intervals in brackets",
        f"time        {_range(document['seconds'], seconds_text)}",
        f"energy      {_range(document['joules'], _joules)}, {power:.3g} W",
        f"memory      activations {quantity(document['peak_bytes'], 'B')} at most, weights {quantity(document['weight_bytes'], 'B')}"
        + (f", cache {quantity(document['kv_bytes'], 'B')}" if document["kv_bytes"] else ""),
        f"work        {quantity(document['macs'])} MACs, {quantity(document['flops'])} operations",
        f"bound by    {shares}",
        f"elasticity  {_elasticity(analysis['elasticities'])}",
        *_parts(analysis),
        "",
        _node_table(document, top),
    ]
    for section in (
        _fusion(analysis, every_fusion),
        _batching(analysis),
        _sweeps(analysis),
        _padding(analysis),
        _phases(analysis),
        _advice(analysis),
    ):
        if section:
            lines += ["", *section]
    lines += ["", _priorities(analysis, min(top, 5))] if analysis["priorities"] else []
    return "\n".join([*lines, *(f"note: {note}" for note in document["notes"])])


def _sorted(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda item: -item[1])


def _elasticity(facts: Facts) -> str:
    whole = facts["whole"]
    batch = "" if whole["batch"] is None else f", batch {whole['batch']:+.2f}"
    remark = "" if facts["follows_clocks"] else " (of the roofline: measured coefficients hold for one clock)"
    return f"core clock {whole['core']:+.2f}, memory clock {whole['memory']:+.2f}{batch}: {whole['bound']}{remark}"


def _parts(analysis: Facts) -> list[str]:
    lines = []
    total = sum(analysis["layers"]["groups"].values())
    if total:
        groups = ", ".join(
            f"{name} {seconds / total:.0%}" for name, seconds in _sorted(analysis["layers"]["groups"]) if seconds >= 0.005 * total
        )
        lines.append(f"parts       {groups}")
    attention = analysis["layers"]["attention"]
    inside = sum(attention.values())
    if inside:
        named = ", ".join(f"{name} {seconds / inside:.0%}" for name, seconds in attention.items())
        split = "; fused kernels divided by operations" if analysis["layers"]["split"] else ""
        lines.append(f"attention   {named}{split}")
    kinds = ", ".join(f"{name} {share:.0%}" for name, share in _sorted(analysis["shares"]["seconds"]) if share >= 0.005)
    return [*lines, f"shares      {kinds}"]


def _node_table(document: Facts, top: int) -> str:
    total = document["seconds"][1] or 1.0
    evidence = {b["name"]: b["evidence"] for b in document["analysis"]["bottlenecks"]}
    order = sorted(document["nodes"], key=lambda n: -n["seconds"][1])[:top]
    rows = [
        (
            n["name"],
            "+".join(n["operators"]),
            _range(n["seconds"], seconds_text),
            f"{n['seconds'][1] / total:.1%}",
            n["bound"],
            evidence.get(n["name"], ""),
        )
        for n in order
    ]
    return table(("node", "operator", "time", "share", "bound", "evidence"), rows, right=(3,))


def _fusion(analysis: Facts, every: bool) -> list[str]:
    cases = analysis["fusion"]
    if not every or not cases:
        return ["no fused kernels"] if every else []
    saved, before = sum(c["gain"] for c in cases), sum(c["seconds_before"] for c in cases)
    rows = [
        (
            case["name"],
            len(case["nodes"]),
            f"{case['intensity_before']:.3g} -> {case['intensity_after']:.3g}",
            f"{seconds_text(case['seconds_before'])} -> {seconds_text(case['seconds_after'])}",
            case["verdict"],
            case["evidence"],
        )
        for case in cases
    ]
    head = f"fusion: {len(cases)} kernels save {seconds_text(saved)} of {seconds_text(before)}"
    return [head, table(("kernel", "nodes", "AI", "time", "verdict", "evidence"), rows, right=(1,))]


def _batching(analysis: Facts) -> list[str]:
    curve = analysis["batching"]
    if curve is None:
        return []
    rows = [
        (batch, seconds_text(s[1]), f"{throughput:.4g}", f"{efficiency:.0%}", quantity(size, "B"), f"{rate / 1e9:.3g} GB/s")
        for batch, s, throughput, efficiency, size, rate in zip(
            curve["batches"],
            curve["seconds"],
            curve["throughput"],
            curve["efficiency"],
            curve["working_set"],
            curve["bandwidth"],
            strict=True,
        )
    ]
    best = curve["best"]["batch"] if curve["best"] else "none that fits"
    form = f"traffic {quantity(curve['weight_traffic'], 'B')} + B x {quantity(curve['item_traffic'], 'B')}" if curve["linear"] else ""
    head = f"batches of {curve['symbol']}: best for throughput {best}, by the rule of thumb {curve['rule_of_thumb']}" + (
        f"; {form}" if form else ""
    )
    return [head, table(("batch", "time", "items/s", "efficiency", "working set", "bandwidth"), rows, right=(0, 2, 3))]


def _sweeps(analysis: Facts) -> list[str]:
    lines: list[str] = []
    for sweep in analysis["sweeps"]:
        step = max(len(sweep["values"]) // 16, 1)
        rows = [
            (f"{value:g}", _range(seconds, seconds_text), _range(joules, _joules), quantity(peak, "B"))
            for value, seconds, joules, peak in list(
                zip(sweep["values"], sweep["seconds"], sweep["joules"], sweep["peak_bytes"], strict=True)
            )[::step]
        ]
        lines += [f"sweep of {sweep['symbol']}", table((sweep["symbol"], "time", "energy", "peak"), rows, right=(0,))]
    return lines


def _padding(analysis: Facts) -> list[str]:
    facts = analysis.get("padding")
    if facts is None:
        return []
    each = f", {facts['batch']} items at a time" if facts["batch"] > 1 else ""
    head = f"{facts['items']} items, {facts['symbol']} {facts['mean']:.4g} on average and at most {facts['longest']}{each}: time of an item"
    rows = [
        (name, ", ".join(map(str, part["limits"])), f"{part['padding']:.2%}", _range(part["seconds"], seconds_text))
        for name, part in (("to the longest", facts["before"]), (f"best of {len(facts['after']['limits'])} buckets", facts["after"]))
    ]
    rows.append(("not at all", "", "0.00%", _range(facts["unpadded"], seconds_text)))
    saved = f"buckets save {facts['saved']:.1%} of the time; the padding to the longest is {facts['before']['padding_exact']}"
    return [head, table(("padded", "limits", "padding", "time"), rows, right=(2,)), saved]


def _phases(analysis: Facts) -> list[str]:
    facts = analysis.get("phases")
    if facts is None:
        return []
    names = ("init", "prefill", "decode", "post", "total")
    rows = [(name, _range(facts[name], seconds_text), f"{facts[name][1] / facts['total'][1]:.1%}") for name in names]
    head = f"generating {facts['generated']} tokens after {facts['prompt']}, {facts['batch']} at a time"
    lines = [head, table(("phase", "time", "share"), rows, right=(2,))]
    low, expected, high = facts["tokens_per_second"]
    lines.append(f"decoding gives {expected:.3g} tokens/s [{low:.3g}, {high:.3g}]")
    grown = f"the cache grows to {quantity(facts['kv_bytes'], 'B')}"
    lines.append(grown if facts["cached"] else "the model keeps no cache: every token reads all tokens before it again")
    step = f"of a decoding step {facts['intensity_decode']:.3g}, ridge {facts['ridge']:.3g}"
    lines.append(f"AI of the prompt {facts['intensity_prefill']:.3g} FLOP/B, {step}")
    crossover = facts.get("crossover")
    if crossover is not None:
        batch = crossover["batch"]
        limit = f"no batch makes decoding compute-bound: cache and activations keep its AI below {crossover['limit']:.3g} FLOP/B"
        named = limit if batch is None else f"decoding is compute-bound from a batch of {batch} on"
        lines.append(f"{named} (ridge x bytes / 2 = {crossover['heuristic']:.3g})")
    return lines


def _advice(analysis: Facts) -> list[str]:
    lines = []
    for advice in analysis["advice"]:
        gain = f" (up to {advice['gain']:.0%})" if advice["gain"] is not None else ""
        lines += [f"advice: {advice['action']}{gain}", f"        because {advice['evidence']}"]
    return lines


def _priorities(analysis: Facts, top: int) -> str:
    rows = [
        (
            p["name"],
            p["kernel"],
            f"{p['time']:.1%}",
            f"{p['potential']:.2f}",
            f"{p['ease']:.2f}",
            f"{p['score']:.4f}",
            f"{p['whole_speedup']:.3f}x",
        )
        for p in analysis["priorities"][:top]
    ]
    return table(("worth work first", "class", "time", "potential", "ease", "score", "model faster"), rows, right=(2, 3, 4, 5, 6))


def symbolic_text(facts: Facts | None) -> str:
    """Closed forms."""
    if facts is None:
        return ""
    total = facts["total"]
    peak = facts["peak_bytes"]
    lines = [
        f"MACs        {sized(total['macs'])}",
        f"operations  {sized(total['flops'])}",
        f"read        {sized(total['read_bytes'], 'B')}",
        f"written     {sized(total['written_bytes'], 'B')}",
        f"weights     {sized(facts['weight_bytes'], 'B')}",
        *([f"cache       {sized(facts['kv_bytes'], 'B')}"] if facts["kv_bytes"] else []),
        *(
            [f"peak        {sized(peak, 'B')}"]
            if not isinstance(peak, list)
            else [f"peak        the greatest of {len(peak)} sums, such as ({peak[0]}) B"]
        ),
        *(f"MACs {name:<6} {sized(dim)}" for name, dim in facts["macs_by_type"].items()),
    ]
    rows = [(name, sized(c["macs"]), sized(c["flops"])) for name, c in facts["classes"].items()]
    lines += ["", table(("class", "MACs", "operations"), rows)]
    if facts["unknown"]:
        lines.append(f"note: {len(facts['unknown'])} kernels of unknown work are not counted: {', '.join(facts['unknown'][:3])}")
    return "\n".join(lines)
