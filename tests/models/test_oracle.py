"""The oracle: its file, the checks against what is known exactly, and the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import DataError
from models.seqgan import oracle as command
from models.seqgan.oracle import PAPER_ORACLE, main
from models.seqgan.paper import checks
from models.seqgan.paper.language_model import LanguageModel, load_oracle, seeded_oracle
from models.seqgan.paper.preflight import check
from models.seqgan.paper.trial import load_checkpoint

V, E, H, T = 30, 5, 4, 7
SMALL = {"vocabulary": 40, "length": 6, "num_texts": 64, "num_samples": 40, "mle_epochs": 1, "d_share": 0.05}
SMALL_ARGUMENTS = [f"--set={name}={value}" for name, value in SMALL.items()]


@pytest.fixture(scope="module")
def small() -> LanguageModel:
    return seeded_oracle(1, vocabulary=300, length=T)


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    shapes = {"emb": (V, E), "W_out": (H, V), "b_out": (V,)}
    for gate in ("i", "f", "o_gate", "c"):
        shapes |= {f"W{gate}": (E, H), f"U{gate}": (H, H), f"b{gate}": (H,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def saved(path: Path, given: dict[str, np.ndarray]) -> Path:
    np.savez(path, **given)
    return path


def loop_nll(a: dict[str, np.ndarray], text: list[int]) -> list[float]:
    """The LSTM as the paper's code writes it: input, forget and output gate, cell."""
    h, c, token, result = np.zeros(H), np.zeros(H), 0, []
    for target in text:
        x = a["emb"][token]
        i, f, o = (1 / (1 + np.exp(-(x @ a[f"W{g}"] + h @ a[f"U{g}"] + a[f"b{g}"]))) for g in ("i", "f", "o_gate"))
        c = f * c + i * np.tanh(x @ a["Wc"] + h @ a["Uc"] + a["bc"])
        h = o * np.tanh(c)
        logits = h @ a["W_out"] + a["b_out"]
        result.append(float(np.log(np.exp(logits).sum()) - logits[target]))
        token = target
    return result


def test_a_loaded_oracle_equals_a_loop_over_the_files_own_gates(tmp_path: Path) -> None:
    given = arrays()
    model = load_oracle(saved(tmp_path / "oracle.npz", given), length=T)
    texts = torch.randint(0, V, (3, T), generator=torch.Generator().manual_seed(4))
    expected = [loop_nll(given, text) for text in texts.tolist()]
    np.testing.assert_allclose(model.nll(texts).numpy(), expected, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Uo_gate": None}, "it has no array Uo_gate, but emb, W_out"),
        ({"emb": None}, "it has no array emb"),
        ({"bc": np.zeros((H, 1), np.float32)}, r"bc has the shape \(4, 1\), but must have \(4,\)"),
        ({"W_out": np.zeros((V, H), np.float32)}, r"W_out has the shape \(30, 4\), but must have \(4, 30\)"),
        ({"emb": np.zeros(V, np.float32)}, r"emb has the shape \(30,\), but must have two axes"),
        ({"bi": np.zeros(H, int)}, r"bi \(int64\) must hold finite floating-point numbers"),
        ({"bi": np.full(H, np.nan)}, r"bi \(float64\) must hold finite"),
    ],
)
def test_an_oracles_file_with_a_wrong_array_is_refused_with_its_name(
    tmp_path: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    given = {name: array for name, array in (arrays() | change).items() if array is not None}
    with pytest.raises(DataError, match=message):
        load_oracle(saved(tmp_path / "oracle.npz", given))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04 cut", b"text"):
        path = tmp_path / "oracle.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="no NumPy archive can be read there"):
            load_oracle(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    for path in (tmp_path / "absent.npz", tmp_path / "one.npy"):
        with pytest.raises(DataError, match="no NumPy archive can be read there"):
            load_oracle(path)


def test_a_seeded_oracle_is_the_same_every_time_and_differs_between_seeds() -> None:
    first, again, other = (seeded_oracle(seed, vocabulary=50) for seed in (3, 3, 4))
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert not torch.equal(first.embed.weight, other.embed.weight)
    assert first.embed.weight.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.skipif(not PAPER_ORACLE.exists(), reason="the paper's oracle is not at ../shared/data/seqgan_oracle.npz")
def test_the_papers_oracle_gives_its_own_texts_the_published_nll() -> None:
    seen = checks.oracle_scores_its_own(load_oracle(PAPER_ORACLE), samples=10_000)
    assert seen.passed, seen.seen


@pytest.mark.parametrize(
    "name",
    [
        "nll_is_entropy",
        "sampler_follows_the_softmax",
        "fused_loss_is_cross_entropy",
        "fused_gradient_is_cross_entropys",
        "rollouts_keep_prefixes",
        "constant_reward_teaches_nothing",
    ],
)
def test_a_check_passes(small: LanguageModel, name: str) -> None:
    seen = getattr(checks, name)(small)
    assert seen.passed, seen.seen


def test_the_checks_notice_a_sampler_that_is_off(small: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = checks.draw_linear

    def warmer(hidden_RH: torch.Tensor, *inputs: torch.Tensor, **options: object) -> torch.Tensor:
        return draw(1.02 * hidden_RH, *inputs, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(checks, "draw_linear", warmer)
    assert not checks.sampler_follows_the_softmax(small).passed
    sample = small.sample
    monkeypatch.setattr(small, "sample", lambda n, *, rng: sample(n, rng=rng, temperature=0.9))
    assert not checks.nll_is_entropy(small).passed
    assert not checks.oracle_scores_its_own(small, samples=10).passed


def test_without_the_papers_oracle_its_check_is_skipped_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PAPER_ORACLE", Path("/absent.npz"))
    monkeypatch.setattr(checks, "seeded_oracle", lambda seed: seeded_oracle(seed, vocabulary=200, length=T))
    assert main(["--check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("skipped  the paper's oracle gives its own texts NLL 5.75 ± 0.02: its file is not here")
    assert len(lines) == 7
    assert all(line.startswith("ok ") for line in lines[1:])


def test_a_failed_check_ends_with_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = checks.Check("water is dry", "wet", False)
    monkeypatch.setattr(command, "all_checks", lambda path: iter([failed, checks.Check("1 + 1 = 2", "2", True)]))
    assert main(["--check", "--json"]) == 1
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {"check": "water is dry", "seen": "wet", "verdict": "FAILED"}
    assert second["verdict"] == "ok"


def test_the_command_trains_goes_on_and_explains_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--out", str(tmp_path), *SMALL_ARGUMENTS]
    assert main([*common, "--epochs", "1"]) == 0
    assert "epoch   1  train_loss" in capsys.readouterr().out
    assert main([*common, "--epochs", "2", "--resume", "--json"]) == 0
    (row,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {"epoch", "nll_oracle", "nll_test", "entropy"} <= set(row)
    assert row["epoch"] == load_checkpoint(tmp_path / "checkpoint")["epoch"] == 2
    assert main([*common, "--set", "lr=fast"]) == 2
    assert "error: lr: 'fast' is str, but must be float" in capsys.readouterr().err
    assert main(["--oracle", "/absent.npz", "--out", str(tmp_path)]) == 2
    assert "error: /absent.npz: no NumPy archive" in capsys.readouterr().err
    assert main(["--check", "--oracle", "/absent.npz"]) == 2


def test_the_command_trains_on_an_oracles_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "oracle.npz", arrays())
    small = ["--set=num_texts=20", "--set=num_samples=20", "--epochs=1", "--json"]
    assert main(["--oracle", str(path), "--out", str(tmp_path), *small]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["nll_test"] < 4


def test_ctrl_c_ends_the_command_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "train", interrupted)
    assert main(["--out", str(tmp_path)]) == 130
    assert f"--resume goes on from {tmp_path / 'checkpoint'}" in capsys.readouterr().err


def test_the_preflight_says_what_is_trained_on_and_refuses_without_loading_torch(tmp_path: Path) -> None:
    path = saved(tmp_path / "oracle.npz", arrays())
    assert check({"lr": (1e-3, 1e-1)}, {}) == "10,000 texts of 20 tokens, vocabulary 5,000, of seeded oracle 0"
    assert (
        check({"lr": (1e-3, 1e-1)}, {"oracle": str(path)})
        == f"10,000 texts of 20 tokens, vocabulary 30, of the oracle in {path}"
    )
    with pytest.raises(ValueError, match=r"^oracle: .*absent.npz: no NumPy archive"):
        check({}, {"oracle": "/absent.npz"})
    with pytest.raises(ValueError, match=r"hiden: no parameter .*; did you mean 'hidden'"):
        check({"hiden": (8, 16)}, {})
    with pytest.raises(ValueError, match="method: 'gan' is not one of mle, "):
        check({}, {"method": "gan"})
    code = "import sys; from models.seqgan.paper.preflight import check; check({}, {}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
