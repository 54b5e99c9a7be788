"""A plain PyTorch classifier of scikit-learn's digits. hpo tunes `train`; alone: `python examples/digits/train.py`."""

import torch
from sklearn.datasets import load_digits
from torch import nn


def train(params, trial):
    torch.manual_seed(trial.seed)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    held_out = torch.arange(len(x)) % 5 == 0
    model = nn.Sequential(nn.Linear(64, params["hidden"]), nn.ReLU(), nn.Linear(params["hidden"], 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=params["lr"], momentum=params["momentum"])
    first = 1
    if source := trial.resume or trial.inherit:  # its own last checkpoint, or another trial's weights
        state = torch.load(source / "state.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        optimizer.param_groups[0].update(lr=params["lr"], momentum=params["momentum"])  # not the other trial's
        first = state["epoch"] + 1
    for epoch in range(first, trial.max_steps + 1):
        for batch in torch.randperm(int((~held_out).sum())).split(64):
            loss = nn.functional.cross_entropy(model(x[~held_out][batch]), y[~held_out][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (model(x[held_out]).argmax(1) == y[held_out]).float().mean().item()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
        trial.report(epoch, {"accuracy": accuracy}, checkpoint=lambda folder: torch.save(state, folder / "state.pt"))


if __name__ == "__main__":
    from hpo.local import run_alone

    run_alone(train, {"hidden": 32, "lr": 0.1, "momentum": 0.9}, steps=10)
