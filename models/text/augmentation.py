"""Easy data augmentation (Wei & Zou 2019, arXiv:1901.11196), on whole batches of articles.

Unlike there, headlines are left alone, hot words stay where they are, and a piece's replacement is one of
the nearest pieces of an embedding instead of a synonym out of WordNet. The paper makes one of the four
changes a copy; here an article goes through all that are possible, each touching about alpha * length
positions.

Suffixes: B articles, S positions, V shared ids, K neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.text.pieces import PAD, SPECIAL


def augment(
    articles_BS: Tensor,
    protected_BS: Tensor,
    *,
    alpha: float,
    rng: torch.Generator,
    neighbours_VK: Tensor | None = None,
    replaceable: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Articles with pieces deleted, swapped and, given neighbours, replaced and inserted; and their origins.

    articles_BS: ids, padded at the end. protected_BS: bool, the hot words: they are neither deleted, nor
    replaced, nor swapped (deletions and insertions before them still shift them). alpha: share of an
    article's pieces that each change touches, in [0, 1]. neighbours_VK: for each shared id, ids that may
    stand for it (see embeddings.nearest); a row's own id, SPECIAL and negative ids mean that there is none.
    replaceable: ids below it are shared (by default the table's rows); those above point into the article,
    and are never replaced.

    Returns ids of the same shape, padded at the end, and index_BS: the position each piece came from (an
    inserted piece: its left neighbour's; padding: one that was padding or was deleted), so that
    `protected_BS.gather(1, index_BS)` moves an aligned tensor in the same way. As many pieces are inserted
    as there is room for. alpha 0 returns the very input.
    """
    identity_BS = torch.arange(articles_BS.shape[1], device=articles_BS.device).expand_as(articles_BS)
    if alpha == 0:
        return articles_BS, identity_BS
    draw = _Draws(articles_BS, rng)
    real_BS = articles_BS.ne(PAD)
    free_BS = real_BS & ~protected_BS.bool()
    inserted_BS, extra_BS = torch.zeros_like(free_BS), articles_BS
    if neighbours_VK is not None:
        shared = min(len(neighbours_VK), replaceable if replaceable is not None else len(neighbours_VK))
        known_BS = free_BS & articles_BS.lt(shared)
        some_BS, extra_BS = _neighbour(articles_BS, known_BS, neighbours_VK, draw)
        inserted_BS = some_BS & draw.chosen(alpha)
        some_BS, other_BS = _neighbour(articles_BS, known_BS, neighbours_VK, draw)
        articles_BS = torch.where(some_BS & draw.chosen(alpha), other_BS, articles_BS)
    index_BS = _swapped(identity_BS, free_BS & draw.chosen(alpha), draw)
    articles_BS, free_BS = articles_BS.gather(1, index_BS), free_BS.gather(1, index_BS)
    deleted_BS = free_BS & draw.chosen(alpha)
    # An article that would lose everything keeps it all.
    emptied_B1 = (deleted_BS | ~real_BS).all(1, keepdim=True)
    kept_BS = real_BS & ~(deleted_BS & ~emptied_B1)
    return _laid_out(articles_BS, index_BS, kept_BS, extra_BS.gather(1, index_BS), inserted_BS.gather(1, index_BS))


class _Draws:
    """Uniform numbers of the articles' shape, all from one generator."""

    def __init__(self, like_BS: Tensor, rng: torch.Generator) -> None:
        self.shape, self.device, self.rng = like_BS.shape, like_BS.device, rng

    def uniform(self) -> Tensor:
        """(B, S), in [0, 1)."""
        return torch.rand(self.shape, generator=self.rng, device=self.rng.device).to(self.device)

    def chosen(self, share: float) -> Tensor:
        """(B, S) bool, true with probability `share`."""
        return self.uniform() < share


def _neighbour(articles_BS: Tensor, known_BS: Tensor, neighbours_VK: Tensor, draw: _Draws) -> tuple[Tensor, Tensor]:
    """Where a piece has a neighbour that is another piece, and one such, drawn at random."""
    num_neighbours = neighbours_VK.shape[1]
    column_BS = (draw.uniform() * num_neighbours).long().clamp_max(num_neighbours - 1)
    other_BS = neighbours_VK[articles_BS.where(known_BS, 0), column_BS].to(articles_BS.dtype)
    return known_BS & other_BS.ge(len(SPECIAL)) & other_BS.ne(articles_BS), other_BS


def _swapped(identity_BS: Tensor, chosen_BS: Tensor, draw: _Draws) -> Tensor:
    """For each position, the one whose piece goes there: the chosen ones of a row change places in pairs."""
    # The chosen positions in random order come first; each second one changes with the one before it.
    key_BS = draw.uniform() + (~chosen_BS).to(torch.float32)
    order_BS = key_BS.argsort(1)
    rank_BS = torch.arange(order_BS.shape[1], device=order_BS.device).expand_as(order_BS)
    partner_BS = rank_BS ^ 1
    paired_BS = torch.maximum(rank_BS, partner_BS) < chosen_BS.sum(1, keepdim=True)
    partner_BS = torch.where(paired_BS, partner_BS, rank_BS)
    return identity_BS.scatter(1, order_BS, order_BS.gather(1, partner_BS))


def _laid_out(
    articles_BS: Tensor, index_BS: Tensor, kept_BS: Tensor, extra_BS: Tensor, inserted_BS: Tensor
) -> tuple[Tensor, Tensor]:
    """Close the gaps, put each inserted piece behind its origin, and pad at the end."""
    batch, length = articles_BS.shape
    inserted_BS = inserted_BS & kept_BS
    # No more than there is room for: the end of the article, where a hot word may be, is not pushed out.
    room_B1 = length - kept_BS.sum(1, keepdim=True)
    inserted_BS = inserted_BS & (inserted_BS.cumsum(1) <= room_B1)
    pieces = torch.stack([articles_BS, extra_BS], dim=2).view(batch, 2 * length)
    origins = torch.stack([index_BS, index_BS], dim=2).view(batch, 2 * length)
    wanted = torch.stack([kept_BS, inserted_BS], dim=2).view(batch, 2 * length)
    # Padding comes from positions that were padding or are deleted, none of which is protected.
    unwanted = torch.stack([1 - kept_BS.long(), 2 - 2 * inserted_BS.long()], dim=2).view(batch, 2 * length)
    order_BS = unwanted.argsort(dim=1, stable=True)[:, :length]
    return pieces.gather(1, order_BS).masked_fill(~wanted.gather(1, order_BS), PAD), origins.gather(1, order_BS)
