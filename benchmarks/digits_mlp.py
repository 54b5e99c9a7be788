"""An MLP on scikit-learn's digits (noisy pixels), in NumPy: real training that lasts milliseconds.

A step is 25 updates by SGD with momentum; the loss is the mean negative log-likelihood of the held-out half.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

UPDATES, HIDDEN = 25, 64
PARAMETERS = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True, "mutable": True},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "mutable": True},
    "weight_decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True, "mutable": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.8, "mutable": True},
    "batch_size": {"type": "int", "low": 8, "high": 128, "log": True, "mutable": True},
}


@lru_cache(maxsize=1)
def digits():
    """x_train (N, 64), y_train (N,), x_held_out, y_held_out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = x / 16 + np.random.default_rng(0).normal(0, 0.35, x.shape)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.5, random_state=0, stratify=y)
    return x_train, y_train, x_test, y_test


class Mlp:
    """One hidden layer of rectified units."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.weights = [
            rng.normal(0, 0.15, (64, HIDDEN)),
            np.zeros(HIDDEN),
            rng.normal(0, 0.15, (HIDDEN, 10)),
            np.zeros(10),
        ]
        self.velocities = [np.zeros_like(weight) for weight in self.weights]

    def step(self, params, rng):
        """25 updates."""
        x_train, y_train, _, _ = digits()
        targets = np.eye(10)[y_train]
        keep = 1 - params["dropout"]
        for _ in range(UPDATES):
            rows = rng.integers(len(x_train), size=int(params["batch_size"]))
            x = x_train[rows]
            before = x @ self.weights[0] + self.weights[1]
            mask = (rng.random(before.shape) < keep) / keep
            hidden = np.maximum(before, 0) * mask
            probabilities = softmax(hidden @ self.weights[2] + self.weights[3])
            error = (probabilities - targets[rows]) / len(rows)
            back = (error @ self.weights[2].T) * (before > 0) * mask
            decay = params["weight_decay"]
            gradients = [x.T @ back + decay * self.weights[0], back.sum(0),
                         hidden.T @ error + decay * self.weights[2], error.sum(0)]  # fmt: skip
            for k, gradient in enumerate(gradients):
                self.velocities[k] = params["momentum"] * self.velocities[k] - params["lr"] * np.clip(gradient, -1, 1)
                self.weights[k] = self.weights[k] + self.velocities[k]

    def loss(self):
        """Mean negative log-likelihood of the held-out half; 99 where it is not finite."""
        _, _, x, y = digits()
        hidden = np.maximum(x @ self.weights[0] + self.weights[1], 0)
        probabilities = softmax(hidden @ self.weights[2] + self.weights[3])
        with np.errstate(divide="ignore", invalid="ignore"):
            loss = -np.log(probabilities[np.arange(len(y)), y]).mean()
        return float(loss) if np.isfinite(loss) else 99.0

    def save(self, folder):
        np.savez(Path(folder) / "mlp.npz", *self.weights, *self.velocities)

    def load(self, folder):
        with np.load(Path(folder) / "mlp.npz") as saved:
            arrays = [saved[name] for name in saved.files]
        self.weights, self.velocities = arrays[:4], arrays[4:]


def softmax(logits):
    with np.errstate(over="ignore", invalid="ignore"):
        exponents = np.exp(logits - logits.max(1, keepdims=True))
        return exponents / exponents.sum(1, keepdims=True)


def train(params, trial):
    """The trainable of hpo."""
    model, finished = Mlp(trial.seed), 0
    source = trial.resume or trial.inherit
    if source:
        model.load(source)
        finished = int((source / "step").read_text())
    for step in range(finished + 1, trial.max_steps + 1):
        model.step(params, np.random.default_rng((trial.seed, step)))

        def save(folder, step=step):
            model.save(folder)
            (folder / "step").write_text(str(step))

        trial.report(step, {"loss": model.loss()}, checkpoint=save)
