"""`make chaos`: the whole kill matrix, its table under benchmarks/results/.

Finished cases are kept in a file, so an interrupted run goes on where it stood.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

from chaos.matrix import MOMENTS, RECOVERY_SECONDS, VICTIMS, Case, Outcome, run
from chaos.scene import Scene

from benchmarks import table

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
OUT = Path(".hpo/benchmarks/chaos.jsonl")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--victims", default=",".join(VICTIMS))
    parser.add_argument("--moments", default=",".join(MOMENTS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--save", action="store_true", help="write the report under benchmarks/results/")
    options = parser.parse_args()
    cases = [
        Case(victim, moment, number)
        for number in range(options.runs)
        for moment in options.moments.split(",")
        for victim in options.victims.split(",")
    ]
    done = _read(options.out)
    missing = [case for case in cases if case not in done]
    if missing:
        with Scene() as running:
            for count, case in enumerate(missing, 1):
                began = time.monotonic()
                outcome = done[case] = run(running, case)
                _append(options.out, outcome)
                said = "; ".join(outcome.faults) or f"all holds, recovery {outcome.recovery_seconds:.1f} s"
                print(f"{count}/{len(missing)} {time.monotonic() - began:.0f} s: {case.study}: {said}", file=sys.stderr)
    outcomes = [done[case] for case in cases]
    text = report(outcomes, options.runs)
    print(text)
    if options.save:
        (RESULTS / "chaos.md").write_text(text, encoding="utf-8")
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def report(outcomes: list[Outcome], runs: int) -> str:
    rows = []
    for victim in dict.fromkeys(outcome.case.victim for outcome in outcomes):
        for moment in dict.fromkeys(outcome.case.moment for outcome in outcomes):
            mine = [each for each in outcomes if (each.case.victim, each.case.moment) == (victim, moment)]
            if not mine:
                continue
            recovery = [each.recovery_seconds for each in mine]
            rows.append({
                "victim": victim,
                "moment": moment,
                "runs": len(mine),
                "all holds": sum(not each.faults for each in mine),
                "recovery, s": f"{statistics.median(recovery):.1f} (max {max(recovery):.1f})",
                "drivers": max(each.drivers for each in mine),
                "faults": "; ".join(fault for each in mine for fault in each.faults)[:200],
            })  # fmt: skip
    good = sum(not each.faults for each in outcomes)
    about = f"""A victim is killed (SIGKILL) at a seeded occurrence of a moment in a study by population-based training
on two Ray nodes; what doesn't come back by itself is started anew. *All holds*: the study has succeeded, every step is
recorded once and none is missing, the budget is exact, a replay came out as recorded, and no process, placement group
or checkpoint is left that nobody needs. A *trial actor* is the worker that leads a trial, writes its checkpoints and
whose reports count, a *worker* another one of its group; those studies have two workers a trial. *Recovery* is from
when the replacement could run to the next step recorded (at most {RECOVERY_SECONDS:g} s)."""
    figures = {"runs": len(outcomes), "all_hold": good, "max_recovery_s": max(e.recovery_seconds for e in outcomes)}
    said = table.provenance(f"`make chaos`, runs a cell: {runs}")
    parts = ["# chaos", said, about, table.markdown(rows), f"`{json.dumps(figures)}`"]
    return "\n\n".join(parts) + "\n"


def _read(path: Path) -> dict[Case, Outcome]:
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        outcome = Outcome(**{**data, "case": Case(**data["case"])})
        found[outcome.case] = outcome
    return found


def _append(path: Path, outcome: Outcome) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
