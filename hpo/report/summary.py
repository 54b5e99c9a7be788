"""A study in sentences: what somebody would say who had looked at all of its charts."""

from __future__ import annotations

from hpo.durations import duration
from hpo.report.analysis import best_line, effort, failures, longest_family, rungs
from hpo.report.importance import Importances
from hpo.report.reading import Record
from hpo.trial import FailureCause, StudyState, TrialState

CAUSES = {
    FailureCause.ERROR: "an error of the trainable",
    FailureCause.OUT_OF_MEMORY: "too little memory",
    FailureCause.PREEMPTED: "workers that were lost too often",
    FailureCause.STORAGE: "a checkpoint that wasn't stored",
    FailureCause.INFEASIBLE: "an infeasible configuration",
    FailureCause.NO_METRIC: "no value of the objective",
    FailureCause.NON_FINITE: "a value that isn't finite",
}


def sentences(record: Record, importance: Importances) -> list[str]:
    found = [_what(record), _best(record), _how_soon(record)]
    found += [_importance(importance), _saved(record), _families(record), _failures(record)]
    return [each for each in found if each]


def number(value: float) -> str:
    """With five significant digits, and no more than it has."""
    return f"{value:.5g}" if isinstance(value, float) else f"{value:,}"


def _what(record: Record) -> str:
    spec, study = record.spec, record.study
    goals = " and ".join(f"{each.direction}s {each.metric}" for each in spec.objectives)
    searched = f"{len(spec.parameters)} parameter{'s' * (len(spec.parameters) != 1)}"
    by = f"{spec.search.algorithm} search under {spec.scheduler.algorithm}"
    state = {
        StudyState.SUCCEEDED: "It has succeeded.",
        StudyState.FAILED: f"It has failed: {study.message}",
        StudyState.CANCELLED: "It was cancelled.",
        StudyState.PAUSED: "It is paused.",
    }.get(study.state, f"It is {study.state} as this is written.")
    return f"{spec.name} {goals} of {spec.trainable or 'a training of your own'} over {searched}, by {by}. {state}"


def _best(record: Record) -> str:
    best = record.best
    if best is None or best.value is None:
        return "No trial has reported a value of the objective yet."
    params = ", ".join(f"{name} = {_shown(value)}" for name, value in best.best_params.items())
    where = f"trial {best.number} at step {best.value_step}"
    return f"The best {record.spec.objective.metric} is {number(best.value)}: {where}, with {params}."


def _how_soon(record: Record) -> str:
    cost = effort(record)
    if not record.trials:
        return ""
    time = f" in {duration(cost.wall_seconds)}" if cost.wall_seconds is not None else ""
    trained = duration(cost.trial_seconds)
    return f"{len(record.trials):,} trials made {cost.steps:,} reports{time}; together they were trained for {trained}."


def _importance(importance: Importances) -> str:
    if importance.note:
        return ""
    top = [f"{each.parameter} ({each.share:.0%})" for each in importance.items[:3] if each.share >= 0.05]
    return f"What the best trials have in common is most of all {', '.join(top)}." if top else ""


def _saved(record: Record) -> str:
    cost = effort(record)
    stopped = cost.states.get(TrialState.STOPPED, 0)
    if not stopped or not cost.full_steps:
        return ""
    levels = len(rungs(record.spec, record.judgements))
    where = f" at {levels} rung{'s' * (levels != 1)}" if levels else ""
    were = "trials were" if stopped != 1 else "trial was"
    share = f"{cost.steps / cost.full_steps:.0%}"
    return (
        f"{stopped:,} {were} stopped early{where}: the study took {share} of the reports that training each trial to "
        "its end would have taken."
    )


def _families(record: Record) -> str:
    line = longest_family(record.inheritances)
    if line is None:
        return ""
    path = " → ".join(map(str, line.members))
    origin = best_line(record)
    best = f" The best value's weights went {' → '.join(map(str, origin.members))}." if origin else ""
    return f"Trials went on from others' weights {len(record.inheritances):,} times; the longest line is {path}.{best}"


def _failures(record: Record) -> str:
    found = failures(record.trials)
    if not found:
        return ""
    count = sum(len(each.trials) for each in found)
    causes = ", ".join(f"{len(each.trials):,} with {CAUSES[each.cause]}" for each in found)
    return f"{count:,} trial{'s' * (count != 1)} failed: {causes}."


def _shown(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
