"""What reports come to: what was judged, where each trial stands, and whether anything has happened."""

from __future__ import annotations

import pytest
from conformance.store_values import decision, event, measurement, spec, trial, walk

from hpo.errors import InvalidPageError, StudyNotFoundError
from hpo.protocols import Store
from hpo.trial import Action, Lease


class OutlineConformance:
    def test_judgements_are_the_reports_on_a_rung_and_those_that_changed_something(
        self, store: Store, lease: Lease
    ) -> None:
        store.create_study(spec("other"))
        other = store.claim("other", holder="driver-2", lease_seconds=60)
        store.write(other, [measurement(1, study="other"), decision(1, study="other", action=Action.STOP)])
        judged = [
            decision(2, 1, rung=2, cutoff=0.5), decision(2, 0, action=Action.PAUSE, rung=2),
            decision(3, 0, generation=1, action=Action.STOP), decision(5, 1, action=Action.COMPLETE, reason="满"),
        ]  # fmt: skip
        plain = [decision(1, 1), decision(1, 0), decision(3, 1), decision(4, 1)]
        rows = sorted([*judged, *plain], key=lambda each: each.step)
        for row in rows:
            store.write(lease, [row, measurement(row.step, row.trial, generation=row.generation)])
        store.write(lease, [decision(9, 7, action=Action.STOP)])  # nothing was measured there
        for size in (1, 2, 4, 100):
            found = walk(lambda **page: store.judgements("s", **page), size)
            assert [each for _, each in found] == judged
            assert all(
                (m.trial, m.generation, m.step) == (d.trial, d.generation, d.step) and m.metrics == {"loss": 1 / d.step}
                for m, d in found
            )

    def test_the_latest_measurement_is_where_a_trial_stands(self, store: Store, lease: Lease) -> None:
        store.write(lease, [measurement(step, number) for step in (1, 2, 3) for number in (2, 0, 10)])
        store.write(lease, [measurement(3, 2, generation=1, metrics={"loss": 7.0})])
        store.write(lease, [trial(10, step=3), trial(0, step=2), trial(2, step=3, generation=1)])
        store.write(lease, [trial(3), trial(4, step=3, generation=2)])  # never reported; not since it went on
        for size in (1, 2, 100):
            found = walk(lambda **page: store.latest("s", **page), size)
            assert [(m.trial, m.generation, m.step) for m in found] == [(0, 0, 2), (2, 1, 3), (10, 0, 3)]
        assert found[1].metrics == {"loss": 7.0}

    def test_the_last_id_rises_with_all_that_happens(self, store: Store, peer: Store, lease: Lease) -> None:
        seen = [store.last_id("s")]
        for rows in ([event()], [measurement(1)], [decision(1)], [measurement(2), decision(2), event()]):
            store.write(lease, rows)
            seen.append(peer.last_id("s"))
        assert seen == sorted(set(seen))
        assert store.last_id("s") == store.events("s", limit=1000)[-1].id

    def test_an_outline_of_an_unknown_study_is_refused(self, store: Store) -> None:
        for read in (store.judgements, store.latest, store.last_id):
            with pytest.raises(StudyNotFoundError):
                read("nobody")

    def test_outlines_keep_to_the_rules_of_pages(self, store: Store, lease: Lease) -> None:
        store.write(lease, [row for n in (0, 1) for row in (trial(n, step=1), measurement(1, n))])
        token = store.latest("s", page_size=1).next_page_token
        with pytest.raises(InvalidPageError, match="first page"):
            store.judgements("s", page_token=token)
        with pytest.raises(InvalidPageError, match="1 to 1000"):
            store.latest("s", page_size=0)
