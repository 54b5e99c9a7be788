"""A database of schema 0001, as the version that had it wrote the rows.

The numbers that a database gives by itself (studies.id, leases.token) are left to it.
"""

from __future__ import annotations

OLD_TABLES = ("studies", "leases", "trials", "measurements", "decisions", "checkpoints", "events")

_SPEC = (
    '{"name": "old", "trainable": "some.module:train", "parameters": {"lr": {"type": "float", "low": 0.001, '
    '"high": 1.0, "log": true}}, "objective": {"metric": "loss", "direction": "minimize"}, "budget": {"trials": 3, '
    '"steps_per_trial": 9}, "search": {"algorithm": "random"}, "scheduler": {"algorithm": "asha"}, "resources": '
    '{"workers": 1, "cpus_per_worker": 1.0, "gpus_per_worker": 0.0}, "fixed": {}, "retry": {"lost_workers": 2}, '
    '"seed": 0, "labels": {}}'
)

OLD_ROWS = (
    "INSERT INTO studies (name, spec, state, message, package, attempt, job, version, created_at, started_at, "
    f"ended_at, last_id, steps) VALUES ('old', '{_SPEC}', 'running', NULL, NULL, 0, NULL, 2, 1770000000.0, "
    "1770000001.0, NULL, 9, 2)",
    "INSERT INTO leases (study_id, holder, expires_at) VALUES (1, 'driver-1', 1770000060.0)",
    "INSERT INTO trials (study_id, number, params, state, generation, parent, step, value, value_step, cause, "
    "message, created_at, started_at, ended_at) VALUES "
    "(1, 0, '{\"lr\": 0.25}', 'stopped', 0, NULL, 2, 0.5, 1, NULL, '满', 2.0, 3.0, 4.0), "
    "(1, 1, '{\"lr\": 0.5}', 'pending', 0, NULL, 0, NULL, NULL, NULL, NULL, 5.0, NULL, NULL)",
    "INSERT INTO measurements (study_id, id, trial, generation, step, metrics, recorded_at) VALUES "
    '(1, 4, 0, 0, 1, \'{"loss": 0.5}\', 3.0), (1, 7, 0, 0, 2, \'{"loss": 0.75, "odd": "Infinity"}\', 4.0)',
    "INSERT INTO decisions (study_id, id, trial, generation, step, action, reason, rung, cutoff, recorded_at) VALUES "
    "(1, 5, 0, 0, 1, 'continue', 'no rung', NULL, NULL, 3.0), (1, 8, 0, 0, 2, 'stop', 'rung 2', 2, 0.625, 4.0)",
    "INSERT INTO checkpoints (study_id, id, trial, generation, step, path, size_bytes, recorded_at) VALUES "
    "(1, 6, 0, 0, 1, '/c/0/1', 7, 3.0)",
    "INSERT INTO events (study_id, id, kind, trial, data, recorded_at) VALUES "
    "(1, 1, 'study.created', NULL, '{}', 1770000000.0), (1, 2, 'study.running', NULL, '{}', 1770000001.0), "
    "(1, 3, 'trial.created', 0, '{}', 2.0), (1, 9, 'trial.stopped', 0, '{\"message\": \"\\u6ee1\"}', 4.0)",
)
