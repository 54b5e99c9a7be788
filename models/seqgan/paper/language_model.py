"""An LSTM language model over texts of one length: the oracle, and the generator that learns from it.

Suffixes: B texts, T positions, V vocabulary, E width of an embedding, H width of a hidden state, G = 4·H gates;
N completions a prefix, P = T - 1 prefixes, R rows of the batch of completions.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models.seqgan.fused import draw_linear, linear_cross_entropy
from models.seqgan.paper.oracle_file import read_oracle
from models.seqgan.randomness import keyed_generator

START = 0
"""The token that every text begins after. It is also an ordinary token, as in the paper's code."""


class LanguageModel(nn.Module):
    """p(x_t | x_<t) = softmax(W h_t + b) with h an LSTM's state; no end token (Yu et al. 2017, eq. 9–11).

    All parameters are drawn from N(0, std²) with `rng`. One bias a gate, as in the paper's cell: PyTorch's second one
    stays 0. `length` is T.
    """

    def __init__(
        self, *, vocabulary: int, embedding: int, hidden: int, length: int, std: float, rng: torch.Generator
    ) -> None:
        super().__init__()
        self.length = length
        self.embed = nn.Embedding(vocabulary, embedding, device="meta")
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True, device="meta")
        self.output = nn.Linear(hidden, vocabulary, device="meta")
        # Off "meta" only now: PyTorch's own initialisation would draw from the global generator.
        self.to_empty(device="cpu")
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, std, generator=rng)
        nn.init.zeros_(self._cell("bias_hh"))
        self._cell("bias_hh").requires_grad_(False)

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.output.out_features

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that an optimizer may change."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def loss(self, tokens_BT: Tensor, weight_BT: Tensor, inputs_BT: Tensor | None = None) -> Tensor:
        """sum weight · −log p(x_t | inputs), nats; `inputs_BT` are the tokens before, the text's own unless given."""
        hidden_RH = self._hidden(_shifted(tokens_BT) if inputs_BT is None else inputs_BT).flatten(0, 1)
        loss, _ = linear_cross_entropy(
            hidden_RH, self.output.weight, self.output.bias, tokens_BT.flatten(), weight_BT.flatten()
        )
        return loss

    @torch.no_grad()
    def nll(self, tokens_BT: Tensor, *, temperature: float = 1.0, batch_size: int = 500) -> Tensor:
        """−log p(x_t | x_<t) at each position, (B, T), nats; the model's logits are divided by the temperature."""
        rows = []
        for part_BT in torch.split(tokens_BT, batch_size):
            hidden_RH = self._hidden(_shifted(part_BT)).flatten(0, 1) / temperature
            target_R = part_BT.flatten()
            _, nll_R = linear_cross_entropy(
                hidden_RH,
                self.output.weight,
                self.output.bias / temperature,
                target_R,
                torch.ones_like(hidden_RH[:, 0]),
            )
            rows.append(nll_R.view(part_BT.shape))
        return torch.cat(rows)

    @torch.no_grad()
    def sample(self, n: int, *, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """N texts of T tokens drawn from the model, (N, T)."""
        gates_VG = self._gates()
        token_B = torch.full((n,), START, device=gates_VG.device)
        state = self._zeros(n)
        tokens = []
        for _ in range(self.length):
            state = self._step(gates_VG, token_B, state)
            token_B = self._draw(state[0], 1, rng, temperature)[:, 0]
            tokens.append(token_B)
        return torch.stack(tokens, 1)

    @torch.no_grad()
    def rollouts(self, tokens_BT: Tensor, n: int, *, rng: torch.Generator) -> Tensor:
        """Complete each prefix x_1..x_t, t = 1..T-1, N times: (P, B, N, T); the Monte-Carlo search of eq. 4.

        ONE growing batch: step t moves the completions of all prefixes shorter than t, and adds those of length t,
        whose state is computed once. T steps in all instead of T·P, and no prefix is ever computed again.
        """
        batch, length = tokens_BT.shape
        added = batch * n
        gates_VG = self._gates()
        texts_RT = tokens_BT.repeat_interleave(n, 0).repeat(length - 1, 1)
        hidden_RH, cell_RH = self._zeros(len(texts_RT))
        prefix = self._step(gates_VG, torch.full_like(tokens_BT[:, 0], START), self._zeros(batch))
        for t in range(1, length):
            live = (t - 1) * added
            prefix = self._step(gates_VG, tokens_BT[:, t - 1], prefix)
            moved = self._step(gates_VG, texts_RT[:live, t - 1], (hidden_RH[:live], cell_RH[:live]))
            hidden_RH[:live], cell_RH[:live] = moved
            fresh = slice(live, live + added)
            hidden_RH[fresh], cell_RH[fresh] = (part_BH.repeat_interleave(n, 0) for part_BH in prefix)
            texts_RT[:live, t] = self._draw(hidden_RH[:live], 1, rng)[:, 0]
            texts_RT[fresh, t] = self._draw(prefix[0], n, rng).flatten()
        return texts_RT.view(length - 1, batch, n, length)

    @torch.no_grad()
    def mixed_inputs(self, tokens_BT: Tensor, rate: float, *, rng: torch.Generator) -> Tensor:
        """The tokens before each position, (B, T), each the text's own with probability `rate`, else drawn.

        Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099, section 2.4): a coin a token.
        """
        gates_VG, state = self._gates(), self._zeros(len(tokens_BT))
        inputs_BT = _shifted(tokens_BT)
        own_BT = torch.rand(inputs_BT.shape, generator=rng, device=inputs_BT.device) < rate
        for t in range(1, self.length):
            state = self._step(gates_VG, inputs_BT[:, t - 1], state)
            replaced_B = ~own_BT[:, t]
            inputs_BT[replaced_B, t] = self._draw(state[0][replaced_B], 1, rng)[:, 0]
        return inputs_BT

    def _hidden(self, inputs_BT: Tensor) -> Tensor:
        hidden_BTH: Tensor = self.lstm(self.embed(inputs_BT))[0]
        return hidden_BTH

    def _gates(self) -> Tensor:
        """What each token adds to the gates: embedding and input matrix in one table, (V, G)."""
        bias_G = self._cell("bias_ih") + self._cell("bias_hh")
        return torch.addmm(bias_G, self.embed.weight, self._cell("weight_ih").t())

    def _cell(self, name: str) -> nn.Parameter:
        return self.lstm.get_parameter(f"{name}_l0")

    def _step(self, gates_VG: Tensor, token_B: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hidden_BH, cell_BH = state
        gates_BG = torch.addmm(gates_VG[token_B], hidden_BH, self._cell("weight_hh").t())
        enter_BH, forget_BH, new_BH, out_BH = gates_BG.chunk(4, 1)
        cell_BH = torch.sigmoid(forget_BH) * cell_BH + torch.sigmoid(enter_BH) * torch.tanh(new_BH)
        return torch.sigmoid(out_BH) * torch.tanh(cell_BH), cell_BH

    def _draw(self, hidden_BH: Tensor, n: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        return draw_linear(hidden_BH, self.output.weight, self.output.bias, n=n, temperature=temperature, rng=rng)

    def _zeros(self, batch: int) -> tuple[Tensor, Tensor]:
        zeros_BH = self.output.weight.new_zeros(batch, self.lstm.hidden_size)
        return zeros_BH, zeros_BH.clone()


def _shifted(tokens_BT: Tensor) -> Tensor:
    """The tokens before each position, the first being START."""
    return torch.cat([torch.full_like(tokens_BT[:, :1], START), tokens_BT[:, :-1]], 1)


def load_oracle(path: Path, *, length: int = 20) -> LanguageModel:
    """The language model in a NumPy archive, frozen. Raises DataError (see `read_oracle`)."""
    arrays = {name: torch.from_numpy(array) for name, array in read_oracle(path).items()}
    vocabulary, embedding = arrays["emb"].shape
    model = LanguageModel(
        vocabulary=vocabulary,
        embedding=embedding,
        hidden=len(arrays["bi"]),
        length=length,
        std=0.0,
        rng=keyed_generator("cpu", "overwritten"),
    )

    def gates(kind: str) -> Tensor:
        # PyTorch's order: input, forget, cell, output; and its matrices act from the left.
        joined = torch.cat([arrays[kind + gate] for gate in ("i", "f", "c", "o_gate")], -1)
        return joined.t()

    weights = {
        "embed.weight": arrays["emb"],
        "lstm.weight_ih_l0": gates("W"),
        "lstm.weight_hh_l0": gates("U"),
        "lstm.bias_ih_l0": gates("b"),
        "output.weight": arrays["W_out"].t(),
        "output.bias": arrays["b_out"],
    }
    # Not strict, for PyTorch's second bias, which stays 0.
    model.load_state_dict(weights, strict=False)
    return model.requires_grad_(False)


def seeded_oracle(
    seed: int, *, vocabulary: int = 5000, length: int = 20, embedding: int = 32, hidden: int = 32
) -> LanguageModel:
    """An oracle of our own, all parameters from N(0, 1), frozen.

    The paper's recipe, so its texts are as hard; but each seed is another language, whose own NLL is its own.
    """
    model = LanguageModel(
        vocabulary=vocabulary,
        embedding=embedding,
        hidden=hidden,
        length=length,
        std=1.0,
        rng=keyed_generator("cpu", seed, "oracle"),
    )
    return model.requires_grad_(False)
