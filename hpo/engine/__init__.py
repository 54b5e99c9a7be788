"""The only room that knows ray.tune and ray.train: runs a study's trials on warm worker groups.

`run.run_study` is the entrance. `ledger` (what is decided and recorded) and `conductor` (who trains what) are pure:
they are tested without a cluster. `adapters` and `lease` put them on Ray Tune, `group` and `worker` on Ray Train.
"""
