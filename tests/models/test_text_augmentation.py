"""Augmented articles keep their hot words, their padding at the end, and only ids they may hold."""

import pytest
import torch

from models.text.augmentation import augment
from models.text.pieces import PAD

SIZE = 50
NEIGHBOURS_VK = torch.stack([torch.arange(SIZE) + 100, torch.arange(SIZE) + 200], dim=1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def articles(batch: int = 64, length: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """Articles of several lengths, a few ids outside the vocabulary, and a fifth of the pieces hot."""
    articles_BS = torch.randint(4, SIZE, (batch, length), generator=rng(1))
    outside_BS = torch.rand(batch, length, generator=rng(2)) < 0.2
    articles_BS = torch.where(outside_BS, SIZE + torch.arange(length), articles_BS)
    padding_BS = torch.arange(length) >= torch.randint(0, length + 1, (batch, 1), generator=rng(3))
    hot_BS = (torch.rand(batch, length, generator=rng(4)) < 0.2) & ~padding_BS
    return articles_BS.masked_fill(padding_BS, PAD), hot_BS


@pytest.mark.parametrize("neighbours_VK", [None, NEIGHBOURS_VK])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_hot_words_survive_in_their_order_and_padding_stays_at_the_end(
    alpha: float, neighbours_VK: torch.Tensor | None
) -> None:
    before_BS, hot_BS = articles()
    after_BS, index_BS = augment(before_BS, hot_BS, alpha=alpha, rng=rng(), neighbours_VK=neighbours_VK)
    assert after_BS.shape == before_BS.shape
    assert after_BS.dtype == before_BS.dtype
    moved_BS = hot_BS.gather(1, index_BS)
    for before, hot, after, moved in zip(before_BS, hot_BS, after_BS, moved_BS, strict=True):
        assert after[moved].tolist() == before[hot].tolist()
        length = int(after.ne(PAD).sum())
        assert not after[length:].any()
        assert bool(length) == bool(before.any())


def test_every_piece_comes_from_the_position_that_the_index_names() -> None:
    before_BS, hot_BS = articles()
    after_BS, index_BS = augment(before_BS, hot_BS, alpha=0.3, rng=rng())
    real_BS = after_BS.ne(PAD)
    assert torch.equal(before_BS.gather(1, index_BS)[real_BS], after_BS[real_BS])
    assert not torch.equal(after_BS, before_BS)


def test_replaced_and_inserted_pieces_are_neighbours_of_shared_pieces_only() -> None:
    before_BS, hot_BS = articles(batch=200)
    after_BS, index_BS = augment(
        before_BS, hot_BS, alpha=0.3, rng=rng(), neighbours_VK=NEIGHBOURS_VK, replaceable=SIZE - 10
    )
    origin_BS = before_BS.gather(1, index_BS)
    changed_BS = after_BS.ne(PAD) & after_BS.ne(origin_BS)
    assert set((after_BS - origin_BS)[changed_BS].tolist()) == {100, 200}
    assert int(origin_BS[changed_BS].max()) < SIZE - 10
    assert not hot_BS.gather(1, index_BS)[changed_BS].any()
    inserted_BS = (index_BS[:, 1:] == index_BS[:, :-1]) & after_BS[:, 1:].ne(PAD)
    assert inserted_BS.any()


def test_a_neighbour_that_is_special_negative_or_the_piece_itself_is_none() -> None:
    before_BS, hot_BS = articles()
    for table_VK in (torch.full((SIZE, 3), -1), torch.full((SIZE, 3), 2), torch.arange(SIZE).unsqueeze(1)):
        after_BS, index_BS = augment(before_BS, hot_BS, alpha=0.4, rng=rng(), neighbours_VK=table_VK)
        real_BS = after_BS.ne(PAD)
        assert torch.equal(before_BS.gather(1, index_BS)[real_BS], after_BS[real_BS])


def test_each_change_touches_about_its_share_of_the_positions() -> None:
    before_BS = torch.arange(4, 204).expand(300, 200)
    hot_BS = torch.zeros_like(before_BS, dtype=torch.bool)
    after_BS, index_BS = augment(before_BS, hot_BS, alpha=0.1, rng=rng())
    deleted = float(after_BS.eq(PAD).float().mean())
    assert deleted == pytest.approx(0.1, abs=0.01)
    # A swapped piece stands before one from an earlier place, or behind one from a later place.
    kept = [row[row.ne(PAD)] - 4 for row in after_BS]
    rising = sum(int((row.cummax(0).values == row).sum()) for row in kept) / sum(map(len, kept))
    assert 0 < rising < 0.95
    assert torch.equal(index_BS.masked_fill(after_BS.eq(PAD), 0), (after_BS - 4).clamp_min(0))


def test_the_same_key_gives_the_same_articles_and_alpha_0_the_very_input() -> None:
    before_BS, hot_BS = articles()
    first, _ = augment(before_BS, hot_BS, alpha=0.2, rng=rng(5), neighbours_VK=NEIGHBOURS_VK)
    again, _ = augment(before_BS, hot_BS, alpha=0.2, rng=rng(5), neighbours_VK=NEIGHBOURS_VK)
    other, _ = augment(before_BS, hot_BS, alpha=0.2, rng=rng(6), neighbours_VK=NEIGHBOURS_VK)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    same, index_BS = augment(before_BS, hot_BS, alpha=0, rng=rng())
    assert same is before_BS
    assert torch.equal(before_BS.gather(1, index_BS), before_BS)


def test_a_full_article_makes_room_for_no_more_than_it_loses() -> None:
    before_BS = torch.arange(4, 34).expand(100, 30)
    hot_BS = torch.zeros_like(before_BS, dtype=torch.bool)
    hot_BS[:, -1] = True
    after_BS, index_BS = augment(before_BS, hot_BS, alpha=0.5, rng=rng(), neighbours_VK=NEIGHBOURS_VK)
    assert hot_BS.gather(1, index_BS).sum(1).eq(1).all()
    assert after_BS.eq(33).sum(1).eq(1).all()
