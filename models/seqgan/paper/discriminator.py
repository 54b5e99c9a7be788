"""The convolutional discriminator of Yu et al. 2017 over texts of one length.

Suffixes: B texts, T positions, E width of an embedding, C maps (of one filter or of all together),
f width of a window, M windows of a batch, K = 2 classes (fake, real).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.seqgan.fused import conv_max

FILTERS = {
    1: 100, 2: 200, 3: 200, 4: 200, 5: 200, 6: 100, 7: 100, 8: 100, 9: 100, 10: 100, 15: 160, 20: 160,
}  # fmt: skip
"""Width of a window -> maps: those of the paper's code for texts of 20 tokens."""

REAL = 1


class Discriminator(nn.Module):
    """Logits of fake and real: windows of many widths, the maximum over time, a highway layer, dropout, a linear layer.

    Windows wider than the text are left out. As in the paper's code: embeddings from U(-1, 1), filters and the last
    layer from N(0, 0.1²) cut at two deviations, with biases 0.1. Unlike there, the highway's gate starts at a bias of
    -2 (Srivastava et al. 2015, arXiv:1505.00387, section 2.2): the code defines that default, but its call passes 0.
    `share` scales the number of maps. `bf16` runs the matrix products in bfloat16, which pays on CPUs with avx512_bf16.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        length: int,
        rng: torch.Generator,
        embedding: int = 64,
        keep: float = 0.75,
        share: float = 1.0,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.keep, self.bf16 = keep, bf16
        maps = {width: max(1, round(count * share)) for width, count in FILTERS.items() if width <= length}
        total = sum(maps.values())
        self.widths = list(maps)
        self.embed = nn.Embedding(vocabulary, embedding, device="meta")
        self.filters = nn.ParameterList(torch.empty(n, width * embedding) for width, n in maps.items())
        self.filter_bias = nn.Parameter(torch.empty(total))
        self.transform = nn.Linear(total, total, device="meta")
        self.gate = nn.Linear(total, total, device="meta")
        self.output = nn.Linear(total, 2, device="meta")
        self.to_empty(device="cpu")
        nn.init.uniform_(self.embed.weight, -1, 1, generator=rng)
        for weight in (*self.filters, self.output.weight):
            nn.init.trunc_normal_(weight, std=0.1, a=-0.2, b=0.2, generator=rng)
        for bias in (self.filter_bias, self.output.bias):
            nn.init.constant_(bias, 0.1)
        for layer in (self.transform, self.gate):
            nn.init.xavier_uniform_(layer.weight, generator=rng)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, tokens_BT: Tensor, dropout: torch.Generator | None = None) -> Tensor:
        """Logits (B, K), fp32. Dropout is on only when given the generator of its mask, as in training."""
        with self._products(tokens_BT):
            embedded_BTE = self.embed(tokens_BT)
            pooled = [conv_max(embedded_BTE, w, width) for width, w in zip(self.widths, self.filters, strict=True)]
            return self._judge(torch.cat(pooled, 1), dropout)

    @torch.no_grad()
    def prob_real(self, tokens_BT: Tensor, *, batch_size: int = 512) -> Tensor:
        """Probability of "real" for each text, (B,), without dropout.

        For the many texts of a Monte-Carlo search a sum over tables replaces the convolution: what each token
        contributes at each place of a window is computed once. Four times as fast in fp32 on a CPU, and the same up to
        rounding.
        """
        batches = torch.split(tokens_BT, batch_size)
        if self.bf16 or tokens_BT.device.type != "cpu" or tokens_BT.numel() < 4 * self.embed.num_embeddings:
            return torch.cat([self(part_BT).softmax(1)[:, REAL] for part_BT in batches])
        pooled = [self._pool_by_table(batches, width, w) for width, w in zip(self.widths, self.filters, strict=True)]
        judged = [self._judge(part_BC) for part_BC in torch.split(torch.cat(pooled, 1), batch_size)]
        return torch.cat(judged).softmax(1)[:, REAL]

    def _pool_by_table(self, batches: Iterable[Tensor], width: int, weight_CfE: Tensor) -> Tensor:
        """What `conv_max` gives for one width of window, for all texts."""
        vocabulary, size = self.embed.weight.shape
        weight_EfC = weight_CfE.view(-1, width, size).permute(2, 1, 0).flatten(1)
        # Row v·f + k: token v at place k of a window.
        table = (self.embed.weight @ weight_EfC).view(vocabulary * width, -1)
        place_f = torch.arange(width)
        pooled = []
        for tokens_BT in batches:
            row_Mf = ((tokens_BT * width).unfold(1, width, 1) + place_f).flatten(0, 1)
            response_MC = functional.embedding_bag(row_Mf, table, mode="sum")
            pooled.append(response_MC.view(len(tokens_BT), -1, table.shape[1]).amax(1))
        return torch.cat(pooled)

    def _judge(self, pooled_BC: Tensor, dropout: torch.Generator | None = None) -> Tensor:
        """From the maxima of all filters to logits (B, K), fp32."""
        with self._products(pooled_BC):
            # Bias and ReLU after the maximum: both are increasing, and there is less to do.
            features_BC = torch.relu(pooled_BC + self.filter_bias)
            # Srivastava et al. 2015, eq. 3; gate and transform have matrices of their own.
            gate_BC = torch.sigmoid(self.gate(features_BC))
            features_BC = gate_BC * torch.relu(self.transform(features_BC)) + (1 - gate_BC) * features_BC
            if dropout is not None:
                # Not nn.Dropout, which draws from the global generator.
                kept_BC = torch.rand(features_BC.shape, generator=dropout, device=features_BC.device) < self.keep
                features_BC = features_BC * kept_BC / self.keep
            logits_BK: Tensor = self.output(features_BC)
        return logits_BK.float()

    def _products(self, tensor: Tensor) -> torch.autocast:
        return torch.autocast(tensor.device.type, torch.bfloat16, enabled=self.bf16)

    def loss(self, tokens_BT: Tensor, real_B: Tensor, *, l2: float, dropout: torch.Generator) -> Tensor:
        """Mean cross-entropy (Yu et al. 2017, eq. 5) and `l2` times half the squares of the last layer alone."""
        entropy = functional.cross_entropy(self(tokens_BT, dropout), real_B.long())
        return entropy + 0.5 * l2 * (self.output.weight.square().sum() + self.output.bias.square().sum())
