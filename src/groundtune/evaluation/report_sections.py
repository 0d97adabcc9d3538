"""The sections with plots: quality, cost, differences, retrieval, confidence, adaptability."""

from __future__ import annotations

from groundtune.evaluation.report_plots import Point, Scale, axis, mark, scatter, strip, symmetric_scale
from groundtune.evaluation.report_tables import tag
from groundtune.evaluation.report_text import (
    ALL,
    RETRIEVAL,
    SPLITS,
    Page,
    headline_metric,
    interval,
    mean_of,
    metric_label,
    metric_of,
    p_value,
    signed,
    split_label,
)
from groundtune.page.curves import Curve, curves
from groundtune.page.parts import scroll, share_bar
from groundtune.page.text import DASH, MINUS, Record, count, duration, esc, number, percent, record, records, score


def quality(page: Page) -> str:
    """Dot and whisker per system, one panel per split."""
    panels = []
    for split in page.splits:
        metric = headline_metric(page.systems, split)
        if metric is None:
            continue
        found = [(mean, s) for s in page.systems if (mean := mean_of(s, split, metric)) is not None]
        found.sort(key=lambda pair: -pair[0])
        baseline = next((mean for mean, s in found if s.get("name") == "baseline"), None)
        rows = "".join(_quality_row(page, s, metric_of(s, split, metric), mean, baseline) for mean, s in found)
        missing = [str(s.get("name")) for s in page.systems if mean_of(s, split, metric) is None]
        note = f'<p class="quiet">Not measured: {esc(", ".join(missing))}</p>' if missing else ""
        panels.append(
            f'<figure class="panel">{_panel_head(page, split, metric)}<ol class="rows">{rows}</ol>'
            f'<div class="row axis-row">{axis()}</div>{note}</figure>'
        )
    if not panels:
        return ""
    keys = {"recommended": "recommended", "plain": "other system", "baseline": "baseline", "control": "control"}
    present = {page.role(system) for system in page.systems}
    legend = "".join(f"<span>{mark(role)}{text}</span>" for role, text in keys.items() if role in present)
    legend += "<span>line: 95 % interval; dashed: level of the baseline</span>"
    return (
        '<p class="lead">Mean score per system, best first; 1 is perfect. Where the lines of two systems overlap, look '
        'at the <a href="#differences">differences</a> before calling one better.</p>'
        f'<p class="legend">{legend}</p><div class="panels">{"".join(panels)}</div>'
    )


def _panel_head(page: Page, split: str, metric: str) -> str:
    meaning = f"{SPLITS[split][1]}. " if split in SPLITS else ""
    asked = f"{count(page.size_of(split))} questions, " if page.size_of(split) else ""
    return (
        f"<figcaption><h3>{esc(split_label(split))}</h3>"
        f"<p>{esc(meaning.capitalize())}{asked}{esc(metric_label(metric))}.</p></figcaption>"
    )


def _quality_row(page: Page, system: Record, entry: Record, mean: float, baseline: float | None) -> str:
    role = page.role(system)
    plot = strip(mean, number(entry.get("low")), number(entry.get("high")), role, reference=baseline)
    note = " <small>control</small>" if role == "control" else ""
    return (
        f'<li class="row {role}"><span class="name">{esc(system.get("name"))}{note}</span>{plot}'
        f'<span class="value">{score(mean)} <small>{interval(entry)}</small></span></li>'
    )


def cost(page: Page) -> str:
    """Quality against time per question."""
    answerable = [name for name in page.splits if name != "unanswerable"]
    used = next(
        (m for m in ("token_f1", "exact_match") if any(headline_metric(page.systems, s) == m for s in answerable)), None
    )
    if used is None:
        return ""
    splits = [ALL] if ALL in answerable else answerable
    splits = [s for s in splits if any(mean_of(system, s, used) is not None for system in page.systems)]
    weights = {split: page.size_of(split) or 1.0 for split in splits}
    points, control, missing = [], None, []
    for system in page.systems:
        name, role = str(system.get("name")), page.role(system)
        wait = record(system.get("latency_seconds"))
        typical = number(wait.get("p50"))
        means = {split: mean for split in splits if (mean := mean_of(system, split, used)) is not None}
        if len(means) == len(splits) and role == "control":
            control = sum(means[s] * weights[s] for s in splits) / sum(weights.values())
        elif len(means) < len(splits) or typical is None or typical <= 0:
            missing.append(name)
        else:
            quality = sum(means[s] * weights[s] for s in splits) / sum(weights.values())
            points.append(Point(name, role, typical, max(number(wait.get("p95")) or typical, typical), quality))
    if not points:
        return ""
    metric = metric_label(used)
    note = f'<p class="quiet">Not drawn, no score or no time: {esc(", ".join(missing))}</p>' if missing else ""
    return (
        f'<p class="lead">{esc(metric)} over all answerable questions against the time for one question. Up and to '
        "the left is better. The dotted line joins the systems that no other beats on both; a tail reaches to the time "
        "that 95 % of the answers keep.</p>"
        f'<div class="wide">{scatter(points, control, metric, width=960, height=400)}</div>'
        f'<div class="narrow">{scatter(points, control, metric, width=380, height=340)}</div>{note}'
    )


def differences(page: Page) -> str:
    """Forest plot of the pairs with the system in focus or the baseline; all others in a table."""
    pairs = [_oriented(page, pair) for pair in records(page.result.get("pairs"))]
    if not pairs:
        return ""
    shown: list[Record] = []
    rest: list[Record] = []
    for pair in pairs:
        near = {page.focus, "baseline"} & {pair.get("a"), pair.get("b")}
        main = pair.get("metric") == headline_metric(page.systems, str(pair.get("split")))
        (shown if near and main and number(pair.get("difference")) is not None else rest).append(pair)
    ends = [value for pair in shown for key in ("low", "high", "difference") if (value := number(pair.get(key)))]
    scale = symmetric_scale(ends)
    panels = []
    for split in dict.fromkeys([*page.splits, *(str(pair.get("split")) for pair in shown)]):
        mine = [pair for pair in shown if pair.get("split") == split]
        mine.sort(key=lambda pair: -(number(pair.get("difference")) or 0.0))
        if mine:
            head = _panel_head(page, split, str(mine[0].get("metric")))
            rows = "".join(_forest_group(page, mine, scale, first) for first in (True, False))
            panels.append(
                f'<figure class="panel forest">{head}<ol class="rows">{rows}</ol>'
                f'<div class="row axis-row">{axis(scale, signs=True)}</div></figure>'
            )
    legend = (
        f'<p class="legend"><span>{mark("clear")} ✓ real: significant after Holm correction</span>'
        f"<span>{mark('unclear')} could be chance</span><span>left of zero: worse</span></p>"
    )
    body = f'{legend}<div class="panels">{"".join(panels)}</div>' if panels else ""
    if rest:
        what = f"{len(rest)} further difference{'s' if len(rest) > 1 else ''}: other pairs and metrics"
        body += f'<details class="more"><summary>{what}</summary>{_pair_table(rest)}</details>'
    return (
        '<p class="lead">All systems answer the same questions, so the fair comparison is the difference question by '
        f"question. Lines are 95 % intervals of that difference.</p>{body}"
    )


def _oriented(page: Page, pair: Record) -> Record:
    """The same difference with the system in focus first, or else the baseline second."""
    first, second = pair.get("a"), pair.get("b")
    if second != page.focus and (first != "baseline" or first == page.focus):
        return pair

    def negated(key: str) -> float | None:
        value = number(pair.get(key))
        return None if value is None else -value

    turned = {"a": second, "b": first, "difference": negated("difference")}
    return {**pair, **turned, "low": negated("high"), "high": negated("low")}


def _forest_group(page: Page, pairs: list[Record], scale: Scale, first: bool) -> str:
    """The pairs with the system in focus, or the other pairs, which all have the baseline."""
    mine = [pair for pair in pairs if (pair.get("a") == page.focus) == first]
    if not mine:
        return ""
    head = f"<b>{esc(page.focus)}</b> compared with" if first else "compared with <b>baseline</b>"
    rows = "".join(_forest_row(pair, scale, first) for pair in mine)
    return f'<li class="group" aria-hidden="true">{head}</li>{rows}'


def _forest_row(pair: Record, scale: Scale, first: bool) -> str:
    clear = bool(pair.get("significant"))
    low, high = number(pair.get("low")), number(pair.get("high"))
    difference = number(pair.get("difference")) or 0.0
    plot = strip(difference, low, high, "clear" if clear else "unclear", scale=scale, reference=0.0)
    a, b = esc(pair.get("a")), esc(pair.get("b"))
    name = f'<span class="sr">{a} {MINUS} </span>{b}' if first else f'{a}<span class="sr"> {MINUS} {b}</span>'
    verdict = '<span class="real">✓<span class="sr"> significant</span></span>' if clear else ""
    return (
        f'<li class="row {"clear" if clear else "unclear"}"><span class="name">{name}</span>{plot}'
        f'<span class="value">{signed(difference)} {verdict} <small>{p_value(pair.get("p_holm"))}</small></span></li>'
    )


def _pair_table(pairs: list[Record]) -> str:
    heads = ("Systems", "Test", "Metric", "Difference", "95 % interval", "p", "p (Holm)", "Significant")
    rows = []
    for pair in pairs:
        cells = (
            esc(split_label(str(pair.get("split")))),
            esc(metric_label(str(pair.get("metric")))),
            signed(pair.get("difference")),
            f"{signed(pair.get('low'))} to {signed(pair.get('high'))}",
            p_value(pair.get("p_value")).removeprefix("p ").removeprefix("= "),
            p_value(pair.get("p_holm")).removeprefix("p ").removeprefix("= "),
            "✓ yes" if pair.get("significant") else "no",
        )
        name = f"{esc(pair.get('a'))} {MINUS} {esc(pair.get('b'))}"
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return scroll("Further paired differences", f"<thead><tr>{top}</tr></thead><tbody>{''.join(rows)}</tbody>")


def retrieval(page: Page) -> str:
    """Recall and MRR of the systems that search; systems with the same search share a block."""
    blocks: dict[str, list[str]] = {}
    for system in page.systems:
        rows = []
        for split in page.splits:
            entries = {metric: metric_of(system, split, metric) for metric in RETRIEVAL}
            if any(number(entry.get("mean")) is not None for entry in entries.values()):
                cells = "".join(_bar_cell(entry) for entry in entries.values())
                rows.append(f'<tr><th scope="row">{esc(split_label(split))}</th>{cells}</tr>')
        if rows:
            blocks.setdefault("".join(rows), []).append(str(system.get("name")))
    if not blocks:
        return ""
    heads = "".join(f'<th scope="col">{metric_label(metric)}</th>' for metric in RETRIEVAL)
    drawn = "".join(
        scroll(" and ".join(names), f'<thead><tr><th scope="col">Test</th>{heads}</tr></thead><tbody>{rows}</tbody>')
        for rows, names in blocks.items()
    )
    return (
        '<p class="lead">A system that searches can only answer from what it finds: its score cannot be much higher '
        f'than the share found here.</p><div class="retrieval">{drawn}</div>'
    )


def _bar_cell(entry: Record) -> str:
    mean = number(entry.get("mean"))
    bar = "" if mean is None else share_bar([("found", mean)], 1.0)
    return f"<td>{score(mean)}<small>{interval(entry)}</small>{bar}</td>"


def confidence(page: Page) -> str:
    """Risk against coverage, one line a system, and the calibration of those that say how sure they are."""
    lines, rows = [], []
    for system in page.systems:
        name, kind = str(system.get("name")), "best" if page.role(system) == "recommended" else ""
        curve, sure = record(system.get("abstention")), record(system.get("calibration"))
        points = [(float(p[0]), float(p[1])) for p in curve.get("points") or () if len(p) == 2]
        if points and page.role(system) != "control":
            lines.append(Curve(name, points, kind))
        if points or sure:
            by = {"logprobs": "token probabilities", "source": "score of the source"}.get(
                str(curve.get("confidence")), DASH
            )
            coverage = percent(points[-1][0]) if points else DASH
            rows.append(
                f'<tr><th scope="row">{esc(name)}{tag(page.role(system))}</th><td>{score(curve.get("aurc"))}</td>'
                f"<td>{coverage}</td><td>{esc(by)}</td><td>{score(sure.get('ece'))}</td></tr>"
            )
    if not rows:
        return ""
    columns = ("System", "Area under the curve", "Answers at most", "Ordered by", "Calibration error")
    heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
    table = scroll("Confidence", f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>")
    plot = curves(
        lines,
        value="risk: mean of 1 - token F1",
        across="coverage: share of all questions answered",
        ceiling=1.0,
        last=1.0,
    )
    return (
        '<p class="lead">A system that answers only what it is surest of should make fewer mistakes: lines that begin low '
        "and rise late are good. An answer where the documents hold none counts as wrong. The calibration error is the mean "
        f'gap between how sure a system says it is and how often it is right.</p>{plot}<div class="more">{table}</div>'
    )


def adaptability(page: Page) -> str:
    """What each system makes of changed facts, and how long it takes."""
    rows, facts = [], 0.0
    for system in page.systems:
        entry = record(system.get("adaptability"))
        total = number(entry.get("facts"))
        if not total:
            continue
        facts = max(facts, total)
        right, stale = number(entry.get("right_after")) or 0.0, number(entry.get("stale_after")) or 0.0
        time = "cannot be updated" if entry.get("can_update") is False else duration(entry.get("seconds"))
        bar = share_bar([("right", right), ("stale", stale)], total)
        rows.append(
            f'<tr><th scope="row">{esc(system.get("name"))}{tag(page.role(system))}</th><td class="bar">{bar}</td>'
            f"<td>{count(entry.get('right_before'))}</td><td>{count(right)}</td>"
            f"<td>{count(entry.get('stale_after'))}</td><td>{time}</td></tr>"
        )
    if not rows:
        return ""
    columns = (
        "Of all changed facts",
        "Right before the change",
        "Right after",
        "Still the old answer",
        "Time to update",
    )
    heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
    table = f'<thead><tr><th scope="col">System</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody>'
    return (
        f'<p class="lead">{count(facts)} facts were changed in the documents, then each system was brought up to date '
        'and asked again.</p><p class="legend"><span><b class="swatch right"></b> right with the new fact</span>'
        '<span><b class="swatch stale"></b> still the old answer</span>'
        f'<span><b class="swatch rest"></b> something else</span></p>{scroll("Taking in changed facts", table)}'
    )
