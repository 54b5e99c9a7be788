"""The report: Markdown tables, and a plot, of what the finished runs say."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.search import analysis
from benchmarks.search.analysis import TIMES, Comparison
from benchmarks.search.cluster import HORIZON
from benchmarks.search.policies import OURS
from benchmarks.search.records import OUT, Record

RESULTS = Path(__file__).resolve().parents[1] / "results"
AT = " / ".join(f"{time:g}" for time in TIMES)
ABOUT = """Simulated cluster: see `benchmarks/search/cluster.py`. Ranks and regrets at 0.1, 0.33 and 1.0 of the horizon:
ranks are means over tasks and seeds among the policies of the table, ties shared; regrets (0 the best known, 1 the
median of random configurations, floored at .001) are geometric means. In brackets, 95 % bootstrap intervals over tasks,
and seeds within."""
VERSUS = f"""Against `{OURS}`: how many times its final regret a policy ends with (paired by task and seed), by how much
its final rank is behind, and the speed-up: the horizon over the time at which `{OURS}`, in the geometric mean over the
seeds of a task, is where the other ends, as the geometric mean over the tasks on which it gets there at all."""
ABLATIONS = f"""Variants of `{OURS}`: how many times the regret of the whole a variant has, paired by task and seed;
above 1, what was left out helps. In brackets, 95 % bootstrap intervals over tasks, and seeds within."""


def show(records: Sequence[Record], options: Namespace) -> None:
    """Print the report, and the figures in JSON as the last line; with --save, keep it under benchmarks/results/."""
    name = "search_ablations" if options.ablations else "search"
    if options.task_group == "held-out":
        name = f"{name}_held_out"
    sections, figures, comparisons = [], {}, []
    for workers in options.workers:
        apart = () if options.ablations else begun(records, options.policies, workers)
        comparison = compared(records, [each for each in options.policies if each not in apart], workers)
        if comparison is None:
            continue
        comparisons.append(comparison)
        text, found = ablations(comparison) if options.ablations else section(comparison)
        for policy in apart:
            more, found[policy] = alone(Comparison(records, (OURS, policy), workers), policy)
            text = f"{text}\n\n{more}"
        absent = [each for each in options.policies if each not in (*comparison.policies, *apart)]
        if absent:
            text = f"{text}\n\nNot run with {workers} workers: {', '.join(absent)}."
        sections.append(text)
        figures[str(workers)] = found
    if not comparisons:
        raise SystemExit(f"no runs of {', '.join(options.policies)} are in {options.out}: run without --only-report")
    body = "\n\n".join([ABLATIONS if options.ablations else ABOUT, *sections])
    print(body)
    if options.save:
        command = f"`{_command(options)}`"
        text = f"# {name}\n\n{table.provenance(command)}\n\n{body}\n\n`{json.dumps(figures)}`\n"
        if not options.ablations:
            from benchmarks.search.plot import draw

            draw(comparisons, RESULTS / f"{name}.svg")
            text = text.replace("\n\n## ", f"\n\n![regret against time]({name}.svg)\n\n## ", 1)
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(json.dumps(figures), flush=True)


def begun(records: Sequence[Record], policies: Sequence[str], workers: int) -> tuple[str, ...]:
    """The policies of which less than nine tenths as many runs are finished as of others. They stand apart: a table
    holds only what all of its policies have finished."""
    counts = {
        policy: sum(record.key.policy == policy and record.key.workers == workers for record in records)
        for policy in policies
    }
    most = max(counts.values())
    return tuple(policy for policy, count in counts.items() if 0 < count < 0.9 * most and policy != OURS)


def compared(records: Sequence[Record], policies: Sequence[str], workers: int) -> Comparison | None:
    """The policies that have runs with so many workers; None where none has. Says on stderr what is left out."""
    present = {record.key.policy for record in records if record.key.workers == workers}
    absent = [policy for policy in policies if policy not in present]
    if absent:
        print(f"{workers} workers: no runs of {', '.join(absent)}", file=sys.stderr)
    comparison = Comparison(records, [policy for policy in policies if policy in present], workers)
    if comparison.left_out:
        left_out = ", ".join(comparison.left_out)
        print(f"{workers} workers: left out, as not all policies have finished a seed: {left_out}", file=sys.stderr)
    return comparison if comparison.tasks else None


def section(comparison: Comparison) -> tuple[str, dict[str, Any]]:
    """What there is to say of one number of workers."""
    ranks = analysis.estimates(comparison.ranks)
    regrets = analysis.estimates(comparison.log_regrets, geometric=True)
    order = sorted(range(len(comparison.policies)), key=lambda p: ranks[p][-1].value)
    rows, figures = [], {}
    for p in order:
        policy = comparison.policies[p]
        cpu = comparison.cpu_ms(policy)
        rows.append(
            {
                "policy": policy,
                f"rank at {AT}": " / ".join(map(str, ranks[p])),
                f"regret at {AT}": " / ".join(map(str, regrets[p])),
                "CPU ms a proposal": f"{cpu:.2g}" if cpu < 100 else f"{cpu:.0f}",
            }
        )
        figures[policy] = {
            "rank": [round(each.value, 3) for each in ranks[p]],
            "regret": [round(each.value, 4) for each in regrets[p]],
            "cpu_ms": round(cpu, 2),
        }
    parts = [_title(comparison), table.markdown(rows)]
    if len(order) > 1:
        first, second = (comparison.policies[p] for p in order[:2])
        lead = analysis.rank_lead(comparison, first, second)
        parts.append(f"`{first}` is ahead of `{second}` by {lead} final ranks.")
    if OURS in comparison.policies and len(order) > 1:
        text, versus = against_ours(comparison, [comparison.policies[p] for p in order])
        parts += [VERSUS, text]
        for policy, found in versus.items():
            figures[policy].update(found)
    return "\n\n".join(parts), figures


def alone(comparison: Comparison, policy: str) -> tuple[str, dict[str, Any]]:
    """A policy against ours, on what it has finished."""
    text, versus = against_ours(comparison, [policy])
    tasks = len(comparison.tasks)
    regrets = analysis.estimates(comparison.log_regrets, geometric=True)
    ends = ", ".join(f"`{name}` {regrets[comparison.place(name)][-1]}" for name in (OURS, policy))
    about = (
        f"`{policy}` against `{OURS}` alone, on the {comparison.num_runs} runs on {tasks} tasks that it has finished. "
        f"Final regrets there: {ends}."
    )
    return f"{about}\n\n{text}", {**versus[policy], "runs": comparison.num_runs}


def against_ours(comparison: Comparison, policies: Sequence[str]) -> tuple[str, dict[str, dict[str, Any]]]:
    """Each other policy against ours."""
    rows, figures = [], {}
    for policy in policies:
        if policy == OURS:
            continue
        ratio = analysis.ratios(comparison, policy, OURS)[-1]
        lead = analysis.rank_lead(comparison, OURS, policy)
        speed = analysis.speed_up(comparison, OURS, policy)
        rows.append(
            {
                "policy": policy,
                "final regret, × ours": str(ratio),
                "ranks behind": str(lead),
                "speed-up of ours": str(speed.factor) if speed.reached else "–",
                "on tasks": f"{speed.reached} of {speed.tasks}",
            }
        )
        figures[policy] = {
            "regret_ratio": round(ratio.value, 3),
            "speed_up": round(speed.factor.value, 3) if speed.reached else None,
            "reached": speed.reached,
        }
    return table.markdown(rows), figures


def ablations(comparison: Comparison) -> tuple[str, dict[str, Any]]:
    """Each variant against the whole."""
    if OURS not in comparison.policies:
        raise SystemExit(f"ablations are compared with {OURS}, which has no runs here: add it to --policies")
    rows, figures = [], {}
    for policy in comparison.policies:
        if policy == OURS:
            continue
        found = analysis.ratios(comparison, policy, OURS)
        rows.append(
            {"variant": policy, **{f"regret at {t:g}": str(each) for t, each in zip(TIMES, found, strict=True)}}
        )
        figures[policy] = [round(each.value, 3) for each in found]
    if not rows:
        raise SystemExit(f"no variants of {OURS} have runs here: name them with --policies")
    return f"{_title(comparison)}\n\n{table.markdown(rows)}", figures


def _title(comparison: Comparison) -> str:
    seeds = sorted({len(each) for each in comparison.runs.values()})
    counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    horizon = HORIZON[comparison.workers]
    return (
        f"## {comparison.workers} workers\n\n{len(comparison.tasks)} tasks × {counts} seeds, {horizon:g} mean full "
        f"costs: {', '.join(comparison.tasks)}."
    )


def _command(options: Namespace) -> str:
    seeds = f" --first-seed {options.first_seed}" if options.first_seed else ""
    flag = " --ablations" if options.ablations else ""
    out = f" --out {options.out}" if options.out != OUT else ""
    return (
        f"python -m benchmarks.search --tasks {options.task_group} --policies {','.join(options.policies)} "
        f"--workers {','.join(map(str, options.workers))} --seeds {options.seeds}{seeds}{flag}{out} --save"
    )
