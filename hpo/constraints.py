"""What conditions, forbidden combinations and first configurations keep to, checked when a study is submitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hpo.forbidden import MAX_NODES, Undecided
from hpo.parameters import FloatParameter, Parameter, contains_value, described, same_looking
from hpo.space import Parameters, Space
from hpo.table import Breach, ParamValue, Typed, suggest, typed

Rule = Mapping[str, Sequence[ParamValue]]
Demand = tuple[str, frozenset[Typed]]
"""A parameter, and what it needs of another one."""

MAX_SHOWN = 8
"""Names or values that one message lists."""
MAX_BLAMED = 100
"""Rules among which those that empty the space are sought."""


def check_conditions(parameters: Parameters) -> Iterator[Breach]:
    """What is wrong with the parameters' `when`. Paths start with the parameter's name."""
    broken = False
    for name, parameter in parameters.items():
        for parent, values in parameter.when.items():
            path = (name, "when", parent)
            if parent == name:
                found = [Breach(path, f"{name} depends on itself, and could never be active", "drop the condition")]
            else:
                found = list(_check_values(path, parameters, parent, values, what=f"{name} could never be active"))
            broken |= bool(found)
            yield from found
    if broken:
        return
    circles = list(_circles(parameters))
    for circle in circles:
        yield Breach(
            (circle[0], "when"),
            f"the conditions go in a circle: {' -> '.join(circle)}, so that none of these could be active",
            "drop one of these conditions",
        )
    if not circles:
        yield from _contradictions(Space(parameters))


def check_forbidden(parameters: Parameters, rules: Sequence[Rule]) -> Iterator[Breach]:
    """What is wrong with forbidden combinations. Paths start with the rule's place."""
    space = Space(parameters)
    broken = False
    for place, rule in enumerate(rules):
        found = []
        if not rule:
            found.append(
                Breach((place,), "the rule is empty, and would forbid everything", "name parameters, or drop it")
            )
        for name, values in rule.items():
            found += _check_values((place, name), parameters, name, values, what="the rule could never match")
        if not found:
            found += _check_can_match(space, place, rule)
        broken |= bool(found)
        yield from found
    if broken or not rules:
        return
    try:
        if Space(parameters, rules).search().first() is None:
            yield _nothing_left(parameters, rules)
    except Undecided as undecided:
        yield Breach(
            (), f"no configuration that these {len(rules)} rules allow was found in {undecided} tries, so that there "
            "may be none", "use fewer rules, or such as name fewer parameters",
        )  # fmt: skip


def check_initial(space: Space, configurations: Sequence[Mapping[str, ParamValue]], trials: int) -> Iterator[Breach]:
    """What is wrong with the configurations to try first. Paths start with the configuration's place."""
    if len(configurations) > trials:
        yield Breach(
            (), f"{len(configurations)} configurations are to be tried first, but budget.trials is {trials}",
            "leave some out, or raise budget.trials",
        )  # fmt: skip
    seen: dict[frozenset[tuple[str, Typed]], int] = {}
    for place, params in enumerate(configurations):
        found = list(_check_configuration(space, params))
        if not found:
            key = frozenset((name, typed(value)) for name, value in params.items())
            if key in seen:
                found.append(Breach((), f"it is the same as configuration {seen[key]}", "drop one of them"))
            seen.setdefault(key, place)
            for number, rule in enumerate(space.rules):
                if space.matches(rule, params):
                    text = " and ".join(_is_one_of(name, some) for name, some in space.forbidden[number].items())
                    found.append(
                        Breach((), f"it is forbidden by forbidden.{number} ({text})", "change it, or drop one of both")
                    )
        yield from (each._replace(path=(place, *each.path)) for each in found)


def with_floats(
    parameters: Parameters, values: Mapping[str, tuple[ParamValue, ...]]
) -> dict[str, tuple[ParamValue, ...]]:
    """The values by name, with whole numbers as floats where the parameter is one."""
    return {name: tuple(as_float(parameters.get(name), each) for each in some) for name, some in values.items()}


def as_float(parameter: Parameter | None, value: ParamValue) -> ParamValue:
    """A whole number as a float, where the parameter is one."""
    is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53
    return float(value) if is_whole and isinstance(parameter, FloatParameter) else value


def _check_values(
    path: tuple[str | int, ...], parameters: Parameters, name: str, values: Sequence[ParamValue], *, what: str
) -> Iterator[Breach]:
    """Whether a condition or a rule lists values that the parameter has."""
    if name not in parameters:
        yield Breach(path, f"there is no parameter {name!r}", suggest(name, parameters) or _known(parameters))
        return
    parameter = parameters[name]
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        yield Breach(
            path, f"{name} is a float without a step, of which single values can't be named",
            f"give {name} a step, or name a discrete parameter",
        )  # fmt: skip
        return
    if not values:
        yield Breach(path, f"the list of values of {name} is empty, so that {what}", "list at least one, or drop it")
    for place, value in enumerate(values):
        if not contains_value(parameter, value):
            yield _no_value((*path, place), name, parameter, value)


def _no_value(path: tuple[str | int, ...], name: str, parameter: Parameter, value: ParamValue) -> Breach:
    near = same_looking(parameter, value)
    hint = f"give {described(parameter)}" if near is None else f"did you mean {near!r}?"
    return Breach(path, f"{value!r} is no value of {name}, which is {described(parameter)}", hint)


def _known(names: Parameters) -> str:
    shown = ", ".join(list(names)[:MAX_SHOWN])
    return f"the parameters are {shown}{', …' if len(names) > MAX_SHOWN else ''}"


def _is_one_of(name: str, values: Sequence[ParamValue]) -> str:
    shown = ", ".join(map(repr, values[:MAX_SHOWN]))
    return f"{name} = {shown}" if len(values) == 1 else f"{name} in [{shown}{', …' if len(values) > MAX_SHOWN else ''}]"


def _circles(parameters: Parameters) -> Iterator[list[str]]:
    """Circles of conditions, the first name again at the end. Each parameter stands in at most one."""
    done: set[str] = set()
    for start in sorted(parameters):
        trail: list[str] = []
        stack = [(start, iter(sorted(parameters[start].when)))] if start not in done else []
        while stack:
            name, parents = stack[-1]
            if len(trail) < len(stack):
                trail.append(name)
            parent = next(parents, None)
            if parent is None:
                done.add(trail.pop())
                stack.pop()
            elif parent in trail:
                circle = trail[trail.index(parent) :]
                first = circle.index(min(circle))
                yield [*circle[first:], *circle[: first + 1]]
                done.update(trail)
                break
            elif parent not in done:
                stack.append((parent, iter(sorted(parameters[parent].when))))


def _contradictions(space: Space) -> Iterator[Breach]:
    told: set[str] = set()
    for name in space.names:
        for ancestor, allowed in space.needs[name].items():
            if allowed or told.intersection(space.needs[name]):
                continue
            chain = [each for each in (*space.needs[name], name) if ancestor in space.parameters[each].when]
            asked = "; ".join(
                f"{each} needs {_is_one_of(ancestor, space.parameters[each].when[ancestor])}" for each in chain
            )
            yield Breach(
                (name, "when"),
                f"{name} could never be active, as no value of {ancestor} meets all conditions: {asked}",
                "let the lists share a value, or drop one of the conditions",
            )
            told.add(name)
            break


def _check_can_match(space: Space, place: int, rule: Rule) -> Iterator[Breach]:
    """Whether all parameters of the rule can be active together, with its values."""
    asked: dict[str, list[Demand]] = {}
    for name in rule:
        asked.setdefault(name, []).append((name, frozenset(map(typed, rule[name]))))
        for ancestor, values in space.needs[name].items():
            asked.setdefault(ancestor, []).append((name, values))
    for ancestor, demands in asked.items():
        if frozenset.intersection(*(values for _, values in demands)):
            continue
        apart = next(((a, b) for k, a in enumerate(demands) for b in demands[k + 1 :] if not a[1] & b[1]), None)
        if apart is None:
            *most, last = [name for name, _ in demands]
            detail = (
                f"{', '.join(most)} and {last} are never all active together, as no value of {ancestor} meets all "
                "their conditions"
            )
        else:
            detail = _never_together(ancestor, *apart)
        yield Breach((place,), f"{detail}, so that the rule never matches", "drop the rule, or correct its values")
        return


def _never_together(parent: str, one: Demand, other: Demand) -> str:
    """Why two parameters of a rule, which ask for different values of `parent`, exclude each other."""
    needs = [_is_one_of(parent, _values(values)) for _, values in (one, other)]
    if parent in (one[0], other[0]):  # the rule names the parent itself
        child, needed, given = (other[0], needs[1], needs[0]) if one[0] == parent else (one[0], needs[0], needs[1])
        return f"{child} is only active where {needed}, but the rule asks for {given}"
    return f"{one[0]} and {other[0]} are never active together ({one[0]} needs {needs[0]}, {other[0]} needs {needs[1]})"


def _values(keys: frozenset[Typed]) -> list[ParamValue]:
    """In an order that is the same in every process."""
    return [value for _, value in sorted(keys, key=repr)]


def _nothing_left(parameters: Parameters, rules: Sequence[Rule]) -> Breach:
    """Which rules empty the space: a smallest set, of which none can be left out."""
    blamed = list(range(len(rules)))
    for number in list(blamed) if len(rules) <= MAX_BLAMED else []:
        fewer = [each for each in blamed if each != number]
        search = Space(parameters, [rules[each] for each in fewer]).search(max_nodes=MAX_NODES // len(rules))
        try:
            if search.first() is None:
                blamed = fewer
        except Undecided:
            continue
    few = ", ".join(f"forbidden.{each}" for each in blamed)
    return Breach(
        (), f"{few if len(blamed) <= MAX_SHOWN else f'{len(blamed)} rules'} together forbid every configuration",
        "drop one of them, or take values out of it",
    )  # fmt: skip


def _check_configuration(space: Space, params: Mapping[str, ParamValue]) -> Iterator[Breach]:
    """Values that are wrong, missing or of inactive parameters; what depends on a wrong one isn't judged."""
    wrong: set[str] = set()
    for name, value in params.items():
        if name not in space.parameters:
            yield Breach(
                (name,), f"there is no parameter {name!r}",
                suggest(name, space.parameters) or f"drop it; {_known(space.parameters)}",
            )  # fmt: skip
        elif not contains_value(space.parameters[name], value):
            wrong.add(name)
            yield _no_value((name,), name, space.parameters[name], value)
    for name in space.names:
        if name in wrong or wrong.intersection(space.needs[name]):
            continue
        if space.is_active(name, params):
            if name not in params:
                wrong.add(name)
                yield Breach((name,), f"{name} is missing, but active in this configuration", f"add {name}")
        elif name in params:
            unmet = next(
                parent
                for parent, values in space.needs[name].items()
                if parent not in params or typed(params[parent]) not in values
            )
            needed = _is_one_of(unmet, _values(space.needs[name][unmet]))
            given = f"is {params[unmet]!r}" if unmet in params else "has no value"
            yield Breach(
                (name,), f"{name} is inactive in this configuration: it needs {needed}, but {unmet} {given}",
                f"drop {name}, or change {unmet}",
            )  # fmt: skip
