"""What a trial starts from in a warm process. In processes of their own: what is imported stays imported."""

from __future__ import annotations

import subprocess
import sys


def printed(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()


def test_it_imports_no_torch() -> None:
    assert printed(
        "import sys; from hpo.engine.fresh import Process\n"
        "process = Process(threads=1); process.begin(3); process.end(); print('torch' in sys.modules)"
    ) == ["False"]


def test_a_trial_that_imports_torch_finds_it_seeded() -> None:
    """The first trial of a process, which imports it, draws what any later one with the same seed draws."""
    first, later, threads, finders = printed(
        "import sys; from hpo.engine.fresh import Process\n"
        "before = len(sys.meta_path); process = Process(threads=1); process.begin(3)\n"
        "import torch; print(torch.rand(1).item()); process.end()\n"
        "process.begin(3); print(torch.rand(1).item()); print(torch.get_num_threads(), len(sys.meta_path) - before)"
    )
    assert first == later
    assert (threads, finders) == ("1", "0")


def test_each_trial_starts_from_the_same_defaults() -> None:
    assert printed(
        "import random, numpy, torch; from hpo.engine.fresh import Process\n"
        "def draw(): return random.random(), numpy.random.rand(), torch.rand(1).item(), torch.ones(1).dtype\n"
        "process = Process(threads=1); process.begin(5); first = draw(); process.end()\n"
        "torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)\n"
        "torch.use_deterministic_algorithms(True)\n"
        "process.begin(5); print(draw() == first, torch.is_grad_enabled())\n"
        "print(torch.are_deterministic_algorithms_enabled())\n"
        "process.begin(6); print(draw() == first)"
    ) == ["True", "True", "False", "False"]


def test_a_torch_that_cannot_be_imported_says_so() -> None:
    """The error is the import's own, as if nobody had watched it."""
    assert printed(
        "import sys; from hpo.engine.fresh import Process\n"
        "Process(threads=1); sys.path[:] = [each for each in sys.path if 'site-packages' not in each]\n"
        "try:\n    import torch\n"
        "except ModuleNotFoundError as error: print(error.name)"
    ) == ["torch"]
