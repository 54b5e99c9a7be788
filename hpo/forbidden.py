"""What forbidden combinations leave: a search over the parameters that they name.

It is a small constraint solver: depth-first, the parameter with the fewest options first, with forward checking
(Haralick & Elliott 1980). Values that no rule and no condition tells apart are one option, so that the size of a range
doesn't matter.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from hpo.parameters import Parameter, Uniform, index_of, nth_value, num_values
from hpo.table import ParamValue, Typed, typed

MAX_NODES = 20_000
"""Choices that a search tries before it gives up: about a second."""

Rule = Mapping[str, frozenset[Typed]]
"""Matches where every one of these parameters is active and has one of the values."""
Needs = Mapping[str, Mapping[str, frozenset[Typed]]]
"""For each parameter, its ancestors and the values that they must have for it to be active."""


class Undecided(Exception):
    """The search has tried MAX_NODES choices."""


@dataclass(frozen=True, slots=True)
class Option:
    """Values of one parameter that make no difference to the rules."""

    parameter: Parameter
    listed: tuple[ParamValue, ...]
    """All of them; or, where `rest` is true, all that are not among them. In the parameter's order."""
    rest: bool = False

    @property
    def count(self) -> float:
        """How many values it has."""
        if not self.rest:
            return len(self.listed)
        total = num_values(self.parameter)
        return math.inf if total is None else total - len(self.listed)

    def holds(self, value: ParamValue) -> bool:
        return any(typed(value) == typed(each) for each in self.listed) is not self.rest

    def draw(self, rng: Uniform) -> ParamValue:
        """One of them, each as likely."""
        if not self.rest:
            return self.listed[min(int(rng.random() * len(self.listed)), len(self.listed) - 1)]
        k = min(int(rng.random() * self.count), int(self.count) - 1)

        def num_before(place: int) -> int:
            """Of the rest, those before a listed value."""
            return (index_of(self.parameter, self.listed[place]) or 0) - place

        return nth_value(self.parameter, k + bisect_right(range(len(self.listed)), k, key=num_before))


Assignment = dict[str, Option | None]
"""An option for each parameter of the search; None where it is inactive."""


def _options(parameter: Parameter, sets: Sequence[frozenset[Typed]]) -> list[Option]:
    """The parameter's values, divided by the sets that they are in."""
    places = {key: index_of(parameter, key[1]) for key in frozenset().union(*sets)}
    mentioned = sorted(((k, key) for key, k in places.items() if k is not None), key=itemgetter(0))
    inside: dict[Typed, list[int]] = {key: [] for key in places}
    for number, each in enumerate(sets):
        for key in each:
            inside[key].append(number)
    groups: dict[tuple[int, ...], list[ParamValue]] = {}
    for _, key in mentioned:
        groups.setdefault(tuple(inside[key]), []).append(key[1])
    options = [Option(parameter, tuple(values)) for values in groups.values()]
    others = Option(parameter, tuple(key[1] for _, key in mentioned), rest=True)
    return [*options, others] if others.count > 0 else options


@dataclass(slots=True)
class Search:
    """All ways to give `names` options so that no rule matches. `names` holds the parameters of the rules and all
    ancestors of its members, parents first; each is a parameter with finitely many values."""

    parameters: Mapping[str, Parameter]
    names: Sequence[str]
    needs: Needs
    rules: Sequence[Rule]
    rng: Uniform | None = None
    """Tries the options in random order, likely by their count; in their own order without it."""
    given: Mapping[str, ParamValue] = field(default_factory=dict)
    """Values that are fixed: where the parameter is active it has this one."""
    max_nodes: int = MAX_NODES
    watched: Sequence[str] = ()
    """Further parameters: options tell apart what makes them active."""
    nodes: int = 0
    # From here on an option is known by its place in its parameter's list; an inactive parameter has chosen None.
    _options: dict[str, list[Option]] = field(default_factory=dict)
    _left: dict[str, frozenset[int]] = field(default_factory=dict)
    """What forward checking has left, where the parameter is active."""
    _chosen: dict[str, int | None] = field(default_factory=dict)
    _needs: dict[str, dict[str, frozenset[int]]] = field(default_factory=dict)
    _rules: list[dict[str, frozenset[int]]] = field(default_factory=list)
    _rules_of: dict[str, list[dict[str, frozenset[int]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sets: dict[str, dict[frozenset[Typed], frozenset[int]]] = {name: {} for name in self.names}
        for demands in [*self.rules, *(self.needs[name] for name in (*self.names, *self.watched))]:
            for name, values in demands.items():
                sets[name][values] = frozenset()
        for name in self.names:
            options = _options(self.parameters[name], list(sets[name]))
            place_of = {
                typed(value): place for place, each in enumerate(options) if not each.rest for value in each.listed
            }
            for values in sets[name]:
                sets[name][values] = frozenset(place_of[key] for key in values if key in place_of)
            fits = [name not in self.given or option.holds(self.given[name]) for option in options]
            self._options[name] = options
            self._left[name] = frozenset(place for place in range(len(options)) if fits[place])
        self._needs = {name: {each: sets[each][some] for each, some in self.needs[name].items()} for name in self.names}
        self._rules = [{name: sets[name][values] for name, values in rule.items()} for rule in self.rules]
        for rule in self._rules:
            for name, places in rule.items():
                self._rules_of.setdefault(name, []).append(rule)
                if len(rule) == 1:
                    self._left[name] -= places

    def solutions(self) -> Iterator[Assignment]:
        """Each once. Raises Undecided when `max_nodes` choices were tried."""
        if len(self._chosen) == len(self.names):
            yield {name: None if k is None else self._options[name][k] for name, k in self._chosen.items()}
            return
        name = self._next()
        for place in self._ordered(name):
            self.nodes += 1
            if self.nodes > self.max_nodes:
                raise Undecided(self.max_nodes)
            self._chosen[name] = place
            before = self._narrow(name)
            if all(self._left[other] or self._may_be_inactive(other) for other in before):
                yield from self.solutions()
            self._left.update(before)
            del self._chosen[name]

    def first(self) -> Assignment | None:
        """A solution, or None where there is none."""
        return next(self.solutions(), None)

    def _next(self) -> str:
        """The parameter with the fewest options, of those whose ancestors are decided."""
        best, fewest = "", math.inf
        for name in self.names:
            if name not in self._chosen and self._is_ripe(name):
                count = len(self._left[name]) if self._is_active(name) else 1
                if count < fewest:
                    best, fewest = name, count
                if count <= 1:
                    break
        return best

    def _is_ripe(self, name: str) -> bool:
        """Whether its ancestors are decided."""
        return self._chosen.keys() >= self._needs[name].keys()

    def _is_active(self, name: str) -> bool:
        needs = self._needs[name]
        return not needs or all(self._chosen[ancestor] in places for ancestor, places in needs.items())

    def _may_be_inactive(self, name: str) -> bool:
        return not (self._is_ripe(name) and self._is_active(name))

    def _narrow(self, name: str) -> dict[str, frozenset[int]]:
        """Take away the options that would now complete a rule; what they were before."""
        before: dict[str, frozenset[int]] = {}
        for rule in self._rules_of.get(name, ()):
            if self._chosen[name] not in rule[name]:
                continue
            open_ = [other for other in rule if other not in self._chosen]
            if len(open_) == 1 and all(self._chosen[other] in rule[other] for other in rule if other != open_[0]):
                before.setdefault(open_[0], self._left[open_[0]])
                self._left[open_[0]] -= rule[open_[0]]
        return before

    def _ordered(self, name: str) -> Sequence[int | None]:
        if not self._is_active(name):
            return [None]
        places = sorted(self._left[name])
        if self.rng is None or len(places) < 2:
            return places
        # Efraimidis & Spirakis 2006: by u^(1/weight), each comes first with its share of the weights.
        options = self._options[name]
        keys = {place: math.log(max(self.rng.random(), 1e-300)) / options[place].count for place in places}
        return sorted(places, key=keys.__getitem__, reverse=True)


def _within(option: Option, values: frozenset[Typed]) -> bool:
    """Whether the option's values are among these: then all are, or none."""
    return not option.rest and typed(option.listed[0]) in values


def _is_active(needs: Mapping[str, frozenset[Typed]], chosen: Assignment) -> bool:
    """Whether all ancestors have a value that makes their descendant active."""
    for ancestor, values in needs.items():
        option = chosen[ancestor]
        if option is None or not _within(option, values):
            return False
    return True


def count(parameters: Mapping[str, Parameter], names: Sequence[str], needs: Needs, rules: Sequence[Rule]) -> int | None:
    """How many configurations no rule matches; None where a float without a step makes them infinitely many.

    `names` are all parameters, parents first. Exact, unless it takes more than MAX_NODES choices: then an upper bound.
    """
    counts: dict[str, int] = {}
    for name in names:
        number = num_values(parameters[name])
        if number is None:
            return None
        counts[name] = number
    total = 1
    for part in _parts(names, [*([name, *needs[name]] for name in names), *map(list, rules)]):
        members = set(part)
        inside = [rule for rule in rules if members.issuperset(rule)]
        # Only what rules and conditions ask for is gone through; the others multiply.
        asked = {name for rule in inside for name in rule} | {parent for name in part for parent in needs[name]}
        free = [name for name in part if name not in asked]
        search = Search(parameters, [name for name in part if name in asked], needs, inside, watched=free)
        subtotal = 0
        try:
            for chosen in search.solutions():
                ways = math.prod(int(option.count) for option in chosen.values() if option is not None)
                subtotal += ways * math.prod(counts[name] for name in free if _is_active(needs[name], chosen))
        except Undecided:
            subtotal = math.prod(counts[name] for name in part)
        total *= subtotal
    return total


def _parts(names: Sequence[str], links: Sequence[Sequence[str]]) -> list[list[str]]:
    """The names, divided into those that are connected by links."""
    part = {name: {name} for name in names}
    for link in links:
        joined = set().union(*(part[name] for name in link))
        for name in joined:
            part[name] = joined
    distinct = {id(members): members for members in part.values()}
    return [[name for name in names if name in members] for members in distinct.values()]
