"""Steering a study while it runs: its verbs, its budget, and its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Response, status

from api import packages
from api.answering import AnswerRoute
from api.bodies import ForkRequest, RetryRequest, StudyChange, TrialsEnqueue
from api.body import Body, checked, described, pointer_step
from api.errors import ApiError
from api.requests import KeyParam, VersionParam, WhoParam
from api.routes.common import SettingsParam, StoreParam, StudyName, TrialNumber, carries, problems, study_answer
from api.schemas.studies import StudyAnswer
from api.submission import accept
from api.turns import SUBMITS
from hpo.constraints import as_float, check_initial
from hpo.errors import InvalidSpecError, Problem, StudyExistsError, StudyStateError
from hpo.protocols import MAX_PAGE_SIZE, Store
from hpo.space import Space
from hpo.specfile import to_data
from hpo.steering import CHANGEABLE, Verb
from hpo.table import ParamValue
from hpo.trial import Study, Trial, TrialState

router = APIRouter(prefix="/v1/studies/{study}", tags=["steering"], route_class=AnswerRoute)

_TAKEN = {"status_code": status.HTTP_202_ACCEPTED, "responses": problems(409) | carries(202, "ETag")}


def _verb(path: str, verb: Verb, summary: str, text: str) -> None:
    def take(study: StudyName, response: Response, store: StoreParam, who: WhoParam, key: KeyParam) -> StudyAnswer:
        return _tagged(store.steer(study, verb, who=who, request=key), response)

    take.__doc__ = text
    take.__name__ = f"{path}_study"
    router.add_api_route(f":{path}", take, methods=["POST"], summary=summary, **_TAKEN)  # type: ignore[arg-type]


_verb(
    "pause", Verb.PAUSE, "Pause a study",
    "Give all its workers back. Trials go on from their checkpoints after `:resume`; nothing that is recorded is lost. "
    "Taken at once; the study is paused within seconds, also in the middle of a step.",
)  # fmt: skip
_verb("resume", Verb.RESUME, "Let a paused study go on", "It is queued, and its trials go on where they stood.")
_verb(
    "stop", Verb.STOP, "End a study early, with its result",
    "Its trials stop; it has succeeded if any trial had a value, and is cancelled otherwise.",
)  # fmt: skip
_verb("cancel", Verb.CANCEL, "Cancel a study", "Its trials stop. All that is recorded stays.")


@router.patch("", responses=problems(409) | carries(200, "ETag"), summary="Change a study",
              openapi_extra=described(StudyChange))  # fmt: skip
def change_study(
    study: StudyName, body: Body, response: Response, store: StoreParam, who: WhoParam, version: VersionParam
) -> StudyAnswer:
    """Change its budget, concurrency, priority or labels, also while it runs; null takes a value back to its default.
    More concurrency starts worker groups, less takes the youngest trials from theirs: those go on later."""
    try:
        changed = store.steer(study, Verb.CHANGE, {"changes": _flat(body)}, who=who, version=version)
    except InvalidSpecError as error:  # the body is no specification: a pointer leads into the body itself
        raise ApiError(422, "invalid-specification", str(error), problems=error.problems) from None
    return _tagged(changed, response)


@router.post(
    ":fork", status_code=status.HTTP_201_CREATED, responses=problems(409) | carries(201, "ETag", "Location"),
    summary="Start another study from this one", openapi_extra=described(ForkRequest), dependencies=SUBMITS,
)  # fmt: skip
def fork_study(
    study: StudyName, body: Body, response: Response, store: StoreParam, settings: SettingsParam, who: WhoParam,
    key: KeyParam,
) -> StudyAnswer:  # fmt: skip
    """A new study in the same project with this one's specification, changed by a JSON merge patch (RFC 7396), and its
    trials to learn from. The old one stays as it is."""
    asked = checked(ForkRequest, body).model_dump(exclude_unset=True)
    parent = store.study(study)
    if asked["name"] == study:  # it would be said to learn from itself
        raise StudyExistsError(study)
    patch: dict[str, Any] = {**asked.get("spec", {}), "name": asked["name"]}
    if asked.get("warm_start", True):
        patch.setdefault("warm_start", [*parent.spec.warm_start, study])
    folder = None
    if parent.package is not None:
        packages.check_taken(settings.rules)
        folder = packages.checked_folder(settings.package_folder, parent.package)
    data = _merged(to_data(parent.spec), patch)
    spec = accept(data, store, project=parent.project, working_dir=folder, rules=settings.rules).spec
    forked = store.create_study(spec, project=parent.project, who=who, package=parent.package, request=key)
    response.headers["Location"] = f"/v1/studies/{forked.name}"
    return _tagged(forked, response)


@router.post("/trials", summary="Try configurations next", openapi_extra=described(TrialsEnqueue), **_TAKEN)  # type: ignore[arg-type]
def enqueue_trials(
    study: StudyName, body: Body, response: Response, store: StoreParam, who: WhoParam, key: KeyParam
) -> StudyAnswer:
    """They come before all that the search proposes, count against the budget, and the search learns from them."""
    found = store.study(study)
    given = checked(TrialsEnqueue, body).params
    space = Space(found.spec.parameters, found.spec.forbidden)
    configurations = [
        {name: as_float(space.parameters.get(name), value) for name, value in each.items()} for each in given
    ]
    faults = [
        Problem("/params" + "".join(map(pointer_step, breach.path)), breach.detail, breach.hint)
        for breach in check_initial(space, configurations, len(configurations))
    ]
    if faults:
        raise ApiError(422, "invalid-request", "\n".join(map(str, faults)), problems=faults)
    return _enqueued(store, study, configurations, [None] * len(configurations), who, key, response)


@router.post("/trials/{number}:stop", summary="Stop a trial", **_TAKEN)  # type: ignore[arg-type]
def stop_trial(
    study: StudyName, number: TrialNumber, response: Response, store: StoreParam, who: WhoParam, key: KeyParam
) -> StudyAnswer:
    """It ends as if the scheduler had stopped it; its workers take the next trial after their next report."""
    store.trial(study, number)  # there is one
    return _tagged(store.steer(study, Verb.STOP_TRIAL, {"trial": number}, who=who, request=key), response)


@router.post("/trials/{number}:retry", summary="Try a failed trial again", **_TAKEN)  # type: ignore[arg-type]
def retry_trial(
    study: StudyName, number: TrialNumber, response: Response, store: StoreParam, who: WhoParam, key: KeyParam
) -> StudyAnswer:
    """Its configuration is tried next, as a trial of its own."""
    trial = store.trial(study, number)
    if trial.state is not TrialState.FAILED:
        raise StudyStateError(f"trial {number} of study {study!r} is {trial.state}; only a failed one can be retried")
    return _retried(store, study, [trial], who, key, response)


@router.post("/trials:retry", summary="Try failed trials again", openapi_extra=described(RetryRequest), **_TAKEN)  # type: ignore[arg-type]
def retry_trials(
    study: StudyName, body: Body, response: Response, store: StoreParam, who: WhoParam, key: KeyParam
) -> StudyAnswer:
    """All that failed, or all that failed for one cause."""
    cause = checked(RetryRequest, body).cause
    failed = [trial for trial in _all_failed(store, study) if cause in (None, trial.cause)]
    if not failed:
        raise StudyStateError(f"study {study!r} has no trial that failed" + (f" by {cause}" if cause else ""))
    return _retried(store, study, failed, who, key, response)


# -- inside -----------------------------------------------------------------------------------------------
def _retried(store: Store, study: str, trials: list[Trial], who: str, key: KeyParam, response: Response) -> StudyAnswer:
    return _enqueued(
        store, study, [dict(each.best_params) for each in trials], [each.number for each in trials], who, key, response
    )


def _enqueued(
    store: Store, study: str, params: list[dict[str, ParamValue]], retry_of: Sequence[int | None], who: str,
    key: KeyParam, response: Response,
) -> StudyAnswer:  # fmt: skip
    data = {"params": params, "retry_of": list(retry_of)}
    return _tagged(store.steer(study, Verb.ENQUEUE, data, who=who, request=key), response)


def _all_failed(store: Store, study: str) -> list[Trial]:
    found: list[Trial] = []
    token: str | None = None
    while True:
        page = store.trials(study, state=TrialState.FAILED, page_size=MAX_PAGE_SIZE, page_token=token)
        found += page.items
        token = page.next_page_token
        if token is None:
            return found


def _tagged(study: Study, response: Response) -> StudyAnswer:
    response.headers["ETag"] = f'"{study.version}"'
    return study_answer(study)


def _flat(body: Any) -> dict[str, Any]:
    """The changes by their dotted names. Raises InvalidSpecError for what can't change."""
    if not isinstance(body, Mapping) or not body:
        fault = Problem("", "the body says no change", 'send, for example, {"budget": {"trials": 64}}')
        raise ApiError(422, "invalid-request", str(fault), problems=[fault])
    changes: dict[str, Any] = {}
    for name, value in body.items():
        if name == "budget" and isinstance(value, Mapping):
            changes |= {f"budget.{key}": each for key, each in value.items()}
        else:
            changes[name] = value
    unknown = [name for name in changes if name not in CHANGEABLE]
    if unknown:
        raise InvalidSpecError(
            Problem(
                "/" + name.replace(".", "/"),
                f"{name} can't change while a study runs",
                f"these can: {', '.join(CHANGEABLE)}; fork the study for others",
            )
            for name in unknown
        )
    return changes


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
