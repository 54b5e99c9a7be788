"""What /docs shows for each kind of answer."""

from __future__ import annotations

from typing import Any

SPEC: dict[str, Any] = {
    "name": "headlines",
    "trainable": "headlines",
    "parameters": {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        "hidden": {"type": "int", "low": 16, "high": 128, "step": 16},
    },
    "objective": {"metric": "perplexity", "direction": "minimize"},
    "search": {"algorithm": "optuna"},
    "scheduler": {"algorithm": "asha", "grace_steps": 1, "reduction_factor": 3},
    "budget": {"trials": 20, "steps_per_trial": 9},
}
TRIAL: dict[str, Any] = {
    "study": "headlines", "number": 3, "params": {"lr": 0.003, "hidden": 64}, "state": "stopped", "generation": 0,
    "parent": None, "step": 3, "value": 61.2, "value_step": 3, "value_generation": 0,
    "value_params": None, "cause": None,
    "message": "rung 3: 61.2 is worse than the cutoff 58.4 (7 trials seen)",
    "created_at": 1770000000.0, "started_at": 1770000001.0, "ended_at": 1770000009.0,
}  # fmt: skip
STUDY: dict[str, Any] = {
    "name": "headlines", "project": "vision", "spec": SPEC, "state": "running", "message": None, "package": None,
    "attempt": 1, "job": "hpo-headlines-1", "version": 3, "share": 2, "waiting": None, "created_at": 1770000000.0,
    "started_at": 1770000004.0, "ended_at": None,
}  # fmt: skip
INHERITANCE: dict[str, Any] = {
    "trial": 3, "generation": 1, "donor": 5, "donor_generation": 0, "step": 4,
    "params": {"lr": 0.0036, "hidden": 64}, "path": "headlines/00005/g000-step-000004",
    "reason": "rank 8 of 8 at step 4: goes on from trial 5 (rank 1)", "recorded_at": 1770000009.0,
}  # fmt: skip
MEASUREMENT: dict[str, Any] = {
    "trial": 3, "generation": 0, "step": 3, "metrics": {"perplexity": 61.2, "loss": "NaN"}, "recorded_at": 1770000009.0,
}  # fmt: skip
DECISION: dict[str, Any] = {
    "trial": 3, "generation": 0, "step": 3, "action": "stop",
    "reason": "rung 3: 61.2 is worse than the cutoff 58.4 (7 trials seen)", "rung": 3, "cutoff": 58.4,
    "recorded_at": 1770000009.0,
}  # fmt: skip
CHECKPOINT: dict[str, Any] = {
    "trial": 3, "generation": 0, "step": 3, "path": "headlines/00003/g000-step-000003", "size_bytes": 1048576,
    "recorded_at": 1770000009.0,
}  # fmt: skip
ESTIMATE: dict[str, Any] = {
    "workers": 4, "seconds": {"median": 61.0, "low": 55.5, "high": 70.2},
    "steps": {"median": 84.0, "low": 78.0, "high": 96.0}, "share_of_full": 0.47,
    "stopped": {"median": 13.0, "low": 12.0, "high": 14.0}, "busy": 0.91,
}  # fmt: skip
INCUMBENTS: dict[str, Any] = {
    "metric": "perplexity",
    "items": [
        {"trial": 0, "step": 1, "value": 80.5, "params": {"lr": 0.01, "hidden": 32}, "recorded_at": 1770000003.0},
        {"trial": 3, "step": 3, "value": 61.2, "params": {"lr": 0.003, "hidden": 64}, "recorded_at": 1770000009.0},
    ],
}
EVENT: dict[str, Any] = {
    "id": 17,
    "study": "headlines",
    "kind": "incumbent.changed",
    "trial": 3,
    "data": {"step": 3, "value": 61.2},
    "recorded_at": 1770000009.0,
}
READY: dict[str, Any] = {
    "ready": True,
    "parts": {
        "store": {"ok": True, "detail": "answers"},
        "storage": {"ok": True, "detail": "85.3 GB free"},
        "controller": {"ok": True, "detail": "at work"},
        "ray": {"ok": True, "detail": "Ray 2.60.0 at http://127.0.0.1:8265"},
    },
}
PROBLEM: dict[str, Any] = {
    "type": "urn:hpo:problem:invalid-specification",
    "title": "The study specification breaks a rule; nothing was changed",
    "status": 422,
    "detail": "parameters.lr.low: low is 1.0 and high is 0.1, but low must be below high; swap them",
    "errors": [
        {
            "pointer": "/spec/parameters/lr/low",
            "detail": "low is 1.0 and high is 0.1, but low must be below high",
            "hint": "swap them, or make the parameter a constant under [fixed]",
        }
    ],
}
SUGGESTED: dict[str, Any] = {
    "trials": [
        {
            "number": 3, "generation": 0, "params": {"lr": 0.003, "hidden": 64}, "seed": 4611686018427387904, "step": 2,
            "max_steps": 9, "resume": {"trial": 3, "step": 2, "reference": "/data/3/step-2", "size_bytes": 4096},
            "inherit": None, "lease": "0f8e62a4c3f94b0c9a3a1f7d5e2b8c60", "lease_seconds": 60.0,
        }
    ],
    "done": False, "state": "running", "message": None, "retry_after_seconds": None,
}  # fmt: skip
IMPORT: dict[str, Any] = {
    "spec": {**SPEC, "name": "old-headlines"},
    "trials": [
        {
            "number": 0, "params": {"lr": 0.003, "hidden": 64}, "state": "completed", "value": 61.2, "value_step": 1,
            "measurements": [{"step": 1, "metrics": {"perplexity": 61.2}}],
        }
    ],
    "source": "a notebook",
}  # fmt: skip
EXPORTED: dict[str, Any] = {
    "number": 3, "state": "stopped", "value": 61.2, "value_step": 3, "step": 3, "generation": 0,
    "created_at": 1770000000.0, "params.lr": 0.003, "params.hidden": 64, "metrics.perplexity": 61.2,
}  # fmt: skip
IMPORTANCES: dict[str, Any] = {
    "metric": "perplexity",
    "method": "PED-ANOVA: how the best tenth of the trials differ from all (Watanabe et al. 2023)",
    "note": None,
    "items": [
        {"parameter": "lr", "share": 0.71, "trials": 64}, {"parameter": "hidden", "share": 0.29, "trials": 64},
    ],
}  # fmt: skip
PARETO: dict[str, Any] = {
    "metrics": ["perplexity", "seconds"],
    "items": [{"trial": 7, "values": [41.2, 12.5]}, {"trial": 3, "values": [48.9, 6.1]}],
}
RUNGS: dict[str, Any] = {
    "metric": "perplexity",
    "items": [
        {
            "step": 1,
            "trials": 64,
            "went_on": 22,
            "best": 71.5,
            "median": 103.2,
            "quantiles": [71.5, 78.3, 84.0, 90.1, 96.6, 103.2, 110.9, 120.4, 133.0, 158.7, 240.1],
        },
        {
            "step": 3,
            "trials": 22,
            "went_on": 8,
            "best": 52.3,
            "median": 60.8,
            "quantiles": [52.3, 53.9, 55.2, 57.0, 58.8, 60.8, 62.4, 64.9, 67.3, 70.2, 74.6],
        },
    ],
}
PROJECT: dict[str, Any] = {
    "name": "vision",
    "quotas": {"max_trials": 8, "max_gpus": 4.0, "max_studies": None},
    "weight": 1.0,
    "created_at": 1770000000.0,
}
CLUSTER: dict[str, Any] = {
    "ray": {"ok": True, "detail": "Ray 2.60.0 at http://127.0.0.1:8265"},
    "nodes": [{"cpus": 16.0, "gpus": 4.0, "count": 1}, {"cpus": 8.0, "gpus": 0.0, "count": 2}],
    "total": {"cpus": 32.0, "gpus": 4.0},
    "held": {"cpus": 30.0, "gpus": 4.0},
    "projects": [
        {"project": "vision", "weight": 2.0, "cpus": 20.0, "gpus": 4.0, "studies": 1, "waiting": 1},
        {"project": None, "weight": None, "cpus": 10.0, "gpus": 0.0, "studies": 3, "waiting": 5},
    ],
    "waiting": {
        "max_studies": 0, "max_trials": 0, "max_gpus": 0, "priority": 0, "share": 5, "room": 0, "too_large": 1,
    },
    "items": [
        {
            "study": "headlines", "project": "vision", "state": "running", "priority": 0, "share": 5,
            "cpus": 20.0, "gpus": 4.0, "waiting": None,
        },
        {
            "study": "wide", "project": "vision", "state": "queued", "priority": 0, "share": 0, "cpus": 0.0,
            "gpus": 0.0,
            "waiting": {
                "reason": "too_large",
                "message": "a trial needs 8 GPUs, the cluster has 4: ask for less under [resources], or add nodes to "
                "the cluster",
            },
        },
    ],
    "next_page_token": None,
}  # fmt: skip
TOKEN: dict[str, Any] = {
    "id": "k3v9q0d2m7xa", "project": "vision", "role": "submitter", "name": "anna", "created_at": 1770000000.0,
    "expires_at": None, "last_used_at": 1770000060.0, "revoked_at": None,
}  # fmt: skip
NEW_TOKEN: dict[str, Any] = {**TOKEN, "last_used_at": None, "token": f"hpo_{TOKEN['id']}_{'…' * 43}"}
