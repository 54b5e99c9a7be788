"""A worker of your own: grows scikit-learn's forests by what hpo suggests. No Ray; start as many as you like, anywhere.

hpo submit examples/ask_and_tell/study.toml
python examples/ask_and_tell/sklearn_worker.py trees
"""

import sys

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from api.client import Client
from api.settings import Settings


def train(params, trial):
    images, labels = load_digits(return_X_y=True)
    x, held_out, y, truth = train_test_split(images, labels, random_state=0)
    forest = RandomForestClassifier(0, warm_start=True, random_state=trial.seed % 2**32, **params)
    for step in range(1, trial.max_steps + 1):
        forest.n_estimators += 10
        forest.fit(x, y)
        trial.report(step, {"accuracy": forest.score(held_out, truth)})


if __name__ == "__main__":
    settings = Settings()  # HPO_URL, HPO_TOKEN
    with Client.of(settings) as client:
        print(f"trained {client.work(sys.argv[1], train)} trials")
