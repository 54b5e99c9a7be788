"""Every parameter of the conditional SeqGAN, with its range: what a study may search or fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from models.parameters import Parameters

RANGES: dict[str, tuple[float, float]] = {
    "vocabulary": (8, 200_000),
    "article_length": (4, 4096),
    "headline_length": (2, 512),
    "num_hot_words": (1, 100_000),
    "history_length": (0, 4096),
    "prior_dropout": (0.0, 0.9),
    "hidden": (2, 4096),
    "embedding": (2, 4096),
    "dropout": (0.0, 0.9),
    "lr": (1e-6, 1.0),
    "weight_decay": (0.0, 1.0),
    "clip": (0.01, 1e6),
    "batch_size": (1, 65_536),
    "epochs": (1, 100_000),
    "mle_epochs": (0, 100_000),
    "patience": (1, 100_000),
    "eda_alpha": (0.0, 0.5),
    "lambda_aux": (0.0, 100.0),
    "lambda_mle": (0.01, 100.0),
    "lambda_mle_decay": (0.01, 1.0),
    "lambda_mle_floor": (0.01, 100.0),
    "lambda_adv": (0.0, 100.0),
    "entropy_coef": (0.0, 1.0),
    "adversarial_updates": (0, 1_000_000),
    "n_rollouts": (1, 64),
    "rollout_stride": (1, 64),
    "lr_d": (1e-7, 1.0),
    "d_weight_decay": (0.0, 10.0),
    "d_updates": (0, 1000),
    "d_warmup": (0, 1_000_000),
    "d_channels": (1, 1024),
    "d_dropout": (0.0, 0.9),
    "d_accuracy_limit": (0.5, 1.0),
    "label_smoothing": (0.0, 0.4),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "tokenizer": ("characters", "wordpiece", "words"),
    "hot_words": ("none", "keywords", "tfidf", "jieba"),
    "cell": ("lstm", "gru", "rnn"),
    "norm": ("layer", "batch", "none"),
    "reward": ("rollout", "sentence", "constant"),
    "baseline": ("none", "mean", "leave_one_out"),
    "precision": ("fp32", "bf16"),
}


@dataclass(frozen=True, kw_only=True)
class SeqGANConfig(Parameters):
    """The parameters; RANGES and CHOICES hold their bounds, both ends included.

    Data
        data: "peoples_daily" or the path of a file of pairs.
        tokenizer: what a piece of text is: characters, WordPiece (trained on the data), or words by jieba.
        article_length: pieces of the article that are read, S.
        headline_length: pieces of a headline with its `<end>`, T.
        vocabulary: the most ids that texts share; rarer pieces are reached by copying only.
        embeddings: a word2vec text file or .npz that the embedding starts from; "" starts at random.
    Priors (each is optional; what the data lacks counts as absent)
        hot_words: where the dictionary of hot words comes from; "keywords" has none, and only marks the pairs'
            own keywords, which count with the others as well.
        num_hot_words: its size. history_length: pieces of the reader's history that are read, L; 0 for none.
        clicks: whether click behaviour is read. prior_dropout: how often each is left out in training,
            so that one model serves with and without.
    Generator
        embedding: width of a piece's vector, E. hidden: width of the recurrent states, H.
        cell: the decoder's cell. dropout: on embeddings, memory and output. norm: of the memory;
            "batch" takes no new statistics in adversarial epochs.
        copy: whether the decoder may copy a piece of the article.
    Teacher forcing
        lr: the peak learning rate; it rises over the first quarter of an epoch, then falls linearly to 0
            at the trial's last epoch. weight_decay: AdamW's. clip: largest norm of the gradient.
        batch_size: pairs an update, over all workers. epochs: in all, when the trial sets no steps.
        mle_epochs: epochs of teacher forcing alone; those after it are adversarial.
        patience: epochs without a better held-out perplexity that end teacher forcing early.
        eda_alpha: share of an article's pieces that augmentation deletes, and as many that it swaps.
        lambda_aux: weight of the auxiliary heads, which tell the headline's hot words and its click rate.
    Adversarial epochs (teacher forcing over all pairs, with policy-gradient updates mixed in)
        lambda_mle: weight of teacher forcing. lambda_mle_decay: what it is multiplied by after each
            adversarial epoch. lambda_mle_floor: it never falls below this.
        lambda_adv, entropy_coef: weights of policy gradient and entropy bonus.
        adversarial_updates: policy-gradient updates an epoch; 0 leaves teacher forcing alone.
        reward: of rollouts, of the whole headline, or the same for all (a control).
        n_rollouts: completions of a prefix. rollout_stride: every so many prefixes are rolled out.
        baseline: what is subtracted from the reward, a position at a time.
        lr_d, d_weight_decay: the discriminator's. d_updates: its updates before each policy-gradient
            update. d_warmup: its updates before the first one. d_channels: maps of each filter width.
            d_dropout: before its last layer. d_accuracy_limit: above this held-out accuracy an update is
            left out. label_smoothing: taken off its target for real pairs.
    Machine
        precision: "bf16" for matrix products in bfloat16 (sums stay in fp32). compile: torch.compile.
    """

    OF: ClassVar[str] = "the SeqGAN"
    RANGES: ClassVar[dict[str, tuple[float, float]]] = RANGES
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = CHOICES

    data: str = "peoples_daily"
    tokenizer: str = "characters"
    article_length: int = 96
    headline_length: int = 48
    vocabulary: int = 7000
    embeddings: str = ""
    hot_words: str = "none"
    num_hot_words: int = 2000
    history_length: int = 0
    clicks: bool = False
    prior_dropout: float = 0.1
    embedding: int = 128
    hidden: int = 128
    cell: str = "lstm"
    dropout: float = 0.1
    norm: str = "layer"
    copy: bool = True
    lr: float = 4e-3
    weight_decay: float = 0.01
    clip: float = 5.0
    batch_size: int = 64
    epochs: int = 4
    mle_epochs: int = 3
    patience: int = 3
    eda_alpha: float = 0.0
    lambda_aux: float = 0.0
    lambda_mle: float = 1.0
    lambda_mle_decay: float = 1.0
    lambda_mle_floor: float = 0.1
    lambda_adv: float = 0.1
    entropy_coef: float = 0.001
    adversarial_updates: int = 4
    reward: str = "rollout"
    n_rollouts: int = 2
    rollout_stride: int = 4
    baseline: str = "leave_one_out"
    lr_d: float = 1e-3
    d_weight_decay: float = 0.01
    d_updates: int = 2
    d_warmup: int = 10
    d_channels: int = 32
    d_dropout: float = 0.25
    d_accuracy_limit: float = 0.75
    label_smoothing: float = 0.1
    precision: str = "fp32"
    compile: bool = False
