from __future__ import annotations

import pytest

from hpo.engine.placement import groups_that_fit
from hpo.errors import PlacementError
from hpo.spec import Resources


@pytest.mark.parametrize(
    ("resources", "nodes", "at_most", "groups"),
    [
        (Resources(), [{"CPU": 2.0}], 16, 2),
        (Resources(workers=2), [{"CPU": 2.0}], 16, 1),
        (Resources(workers=2), [{"CPU": 1.0}, {"CPU": 1.0}], 16, 1),
        (Resources(cpus_per_worker=0.1), [{"CPU": 0.3}], 16, 3),
        (Resources(cpus_per_worker=3), [{"CPU": 4.0}, {"CPU": 4.0}], 16, 2),
        (Resources(gpus_per_worker=1), [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0}], 16, 2),
        (Resources(gpus_per_worker=0.5), [{"CPU": 16.0, "GPU": 2.0}], 3, 3),
    ],
)
def test_the_number_of_groups_follows_from_what_the_nodes_hold(resources, nodes, at_most, groups):
    assert groups_that_fit(resources, nodes, at_most=at_most) == groups


@pytest.mark.parametrize(
    ("resources", "nodes", "figures"),
    [
        (Resources(workers=8, gpus_per_worker=1), [{"CPU": 16.0}], "needs 8 GPUs, the cluster has 0"),
        (Resources(workers=4), [{"CPU": 2.0}], "needs 4 CPUs, the cluster has 2"),
        (Resources(cpus_per_worker=3), [{"CPU": 2.0}, {"CPU": 2.0}], "the nodes have room for 0"),
    ],
)
def test_a_study_that_never_fits_is_refused_with_the_figures(resources, nodes, figures):
    with pytest.raises(PlacementError, match=figures):
        groups_that_fit(resources, nodes, at_most=16)
