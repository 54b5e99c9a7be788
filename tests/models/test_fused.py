"""Fused operations over the vocabulary against PyTorch's own, in fp64 where it matters."""

import math

import pytest
import torch
from torch.nn import functional

from models.seqgan.fused import conv_max, draw_linear, linear_cross_entropy, linear_log_prob

R, H, V = 37, 6, 101


def tensors(dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    hidden, weight = (torch.randn(n, H, generator=rng, dtype=dtype) for n in (R, V))
    bias = torch.randn(V, generator=rng, dtype=dtype)
    return hidden.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def targets() -> torch.Tensor:
    return torch.randint(0, V, (R,), generator=torch.Generator().manual_seed(1))


def keyed(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rows", [1, 8, 37, 100, None])
def test_the_fused_cross_entropy_and_its_gradients_equal_pytorchs(rows: int | None) -> None:
    inputs, target = tensors(), targets()
    weight_R = torch.randn(R, generator=keyed(), dtype=torch.float64).requires_grad_()
    loss, nll_R = linear_cross_entropy(*inputs, target, weight_R, rows=rows)
    expected_R = functional.cross_entropy(functional.linear(*inputs), target, reduction="none")
    torch.testing.assert_close(nll_R, expected_R.detach())
    gradients = torch.autograd.grad(3 * loss, [*inputs, weight_R])
    expected = torch.autograd.grad(3 * (expected_R * weight_R).sum(), [*inputs, weight_R])
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other)


@pytest.mark.parametrize("rows", [1, 8, 37, 100, None])
def test_the_fused_log_prob_and_its_gradients_equal_pytorchs(rows: int | None) -> None:
    inputs, target = tensors(), targets()
    log_prob_R = linear_log_prob(*inputs, target, rows=rows)
    expected_R = functional.linear(*inputs).log_softmax(-1).gather(1, target[:, None]).squeeze(1)
    torch.testing.assert_close(log_prob_R, expected_R)
    upstream_R = torch.randn(R, generator=keyed(), dtype=torch.float64)
    gradients = torch.autograd.grad(log_prob_R.exp(), inputs, upstream_R)
    for gradient, other in zip(gradients, torch.autograd.grad(expected_R.exp(), inputs, upstream_R), strict=True):
        torch.testing.assert_close(gradient, other)


def test_the_fused_log_prob_passes_gradcheck() -> None:
    hidden, weight, bias = tensors()
    small = [tensor.detach().requires_grad_() for tensor in (hidden[:5], weight[:7], bias[:7])]
    assert torch.autograd.gradcheck(lambda *x: linear_log_prob(*x, targets()[:5] % 7, rows=2), small)


def test_a_banned_token_has_no_probability_and_gets_no_gradient() -> None:
    hidden, weight, bias = tensors(torch.float32)
    bias.data[[0, V - 1]] = -1e4
    target = targets().clamp(1, V - 2)
    gradients = torch.autograd.grad(linear_log_prob(hidden, weight, bias, target).sum(), (weight, bias))
    for gradient in gradients:
        assert gradient[[0, V - 1]].abs().max() == 0
        assert gradient.isfinite().all()
    log_prob_R = linear_log_prob(hidden, weight, bias, torch.zeros_like(target))
    assert (log_prob_R < -9e3).all()
    assert log_prob_R.isfinite().all()
    for n in (1, 50):
        tokens = draw_linear(100 * hidden, weight, bias, n=n, rng=keyed())
        assert not torch.isin(tokens, torch.tensor([0, V - 1])).any()


def test_large_logits_lose_no_precision() -> None:
    hidden, weight, bias = tensors(torch.float32)
    target = targets()
    exact_R = linear_log_prob(hidden.double(), weight.double(), bias.double() + 1e4, target)
    log_prob_R = linear_log_prob(hidden, weight, bias + 1e4, target)
    # fp32 near 1e4 has steps of 1e-3; nothing may be lost beyond what the logits themselves lost.
    torch.testing.assert_close(log_prob_R.double(), exact_R, atol=2e-3, rtol=0)
    assert (log_prob_R <= 0).all()


def test_without_gradients_only_the_values_are_computed() -> None:
    inputs, target = tensors(torch.float32), targets()
    with torch.no_grad():
        loss, nll_R = linear_cross_entropy(*inputs, target, torch.ones(R))
    assert not loss.requires_grad
    assert loss.item() == pytest.approx(nll_R.sum().item())
    frozen = [tensor.detach() for tensor in inputs]
    assert not linear_cross_entropy(*frozen, target, torch.ones(R))[0].requires_grad


def test_bf16_products_keep_gradients_of_the_weights_in_fp32() -> None:
    hidden, weight, bias = tensors(torch.float32)
    target = targets()
    exact = torch.autograd.grad(linear_log_prob(hidden, weight, bias, target).sum(), (hidden, weight, bias))
    with torch.autocast("cpu", torch.bfloat16):
        log_prob_R = linear_log_prob(hidden, weight, bias, target, rows=8)
        loss, nll_R = linear_cross_entropy(hidden, weight, bias, target, torch.ones(R), rows=8)
    assert log_prob_R.dtype == nll_R.dtype == torch.float32
    torch.testing.assert_close(log_prob_R, -nll_R)
    for value in (log_prob_R.sum(), -loss):
        gradients = torch.autograd.grad(value, (hidden, weight, bias))
        for gradient, other in zip(gradients, exact, strict=True):
            assert gradient.dtype == torch.float32
            torch.testing.assert_close(gradient, other, atol=0.1, rtol=0.03)


@pytest.mark.parametrize(("vocabulary", "block"), [(101, 64), (96, 32), (50, 64), (101, 7), (1, 4)])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_softmax_whatever_the_vocabulary(vocabulary: int, block: int, temperature: float) -> None:
    hidden, weight, bias = (tensor.detach() for tensor in tensors(torch.float32))
    weight, bias = weight[:vocabulary], bias[:vocabulary]
    n = 20_000
    tokens = draw_linear(hidden[:3], weight, bias, n=n, temperature=temperature, rng=keyed(), block=block)
    prob = (functional.linear(hidden[:3], weight, bias) / temperature).softmax(-1)
    for row in range(3):
        count = torch.bincount(tokens[row], minlength=vocabulary)
        assert len(count) == vocabulary
        z = (count - n * prob[row]) / (n * prob[row] * (1 - prob[row]) + 1).sqrt()
        assert z.abs().max() < 5


def test_draws_do_not_depend_on_the_chunks_and_repeat_under_a_seed() -> None:
    inputs = [tensor.detach() for tensor in tensors(torch.float32)]
    first = draw_linear(*inputs, n=5, rng=keyed(), rows=4)
    assert torch.equal(first, draw_linear(*inputs, n=5, rng=keyed(), rows=100))
    assert not torch.equal(first, draw_linear(*inputs, n=5, rng=keyed(4)))
    assert first.shape == (R, 5)


def test_no_rows_are_no_trouble() -> None:
    hidden, weight, bias = tensors(torch.float32)
    assert draw_linear(hidden[:0], weight, bias, n=3, rng=keyed()).shape == (0, 3)
    none = targets()[:0]
    assert linear_log_prob(hidden[:0], weight, bias, none).shape == (0,)
    loss, nll_R = linear_cross_entropy(hidden[:0], weight, bias, none, torch.ones(0))
    assert (loss.item(), nll_R.shape) == (0.0, (0,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_draws_are_made_in_other_dtypes_too(dtype: torch.dtype) -> None:
    hidden, weight, bias = (tensor.detach() for tensor in tensors(torch.float32))
    tokens = draw_linear(hidden[:1].to(dtype), weight.to(dtype), bias.to(dtype), n=20_000, rng=keyed())
    count = torch.bincount(tokens.flatten(), minlength=V) / 20_000
    torch.testing.assert_close(count, functional.linear(hidden[0], weight, bias).softmax(0), atol=0.02, rtol=0)


def test_a_uniform_number_of_one_still_draws_a_token_with_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, bias = (tensor.detach() for tensor in tensors(torch.float32))
    bias[60:] = -1e4
    for value in (0.0, 1 - 2**-24, 1.0):
        monkeypatch.setattr(torch, "rand", lambda *size, value=value, **_: torch.full(size, value))
        tokens = draw_linear(hidden, weight, bias, rng=keyed(), block=16)
        assert ((tokens >= 0) & (tokens < 60)).all()


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature: 0 is not above 0"):
        draw_linear(*tensors(torch.float32), temperature=0, rng=keyed())


@pytest.mark.parametrize("width", [1, 3, 7])
def test_conv_max_and_its_gradients_equal_a_convolution_and_a_maximum(width: int) -> None:
    embedded = torch.randn(4, 7, 5, generator=keyed(), dtype=torch.float64).requires_grad_()
    weight = torch.randn(6, width, 5, generator=keyed(), dtype=torch.float64).requires_grad_()
    for given in (weight, weight.flatten(1)):
        response = conv_max(embedded, given, width)
        expected = functional.conv1d(embedded.transpose(1, 2), weight.transpose(1, 2)).amax(2)
        torch.testing.assert_close(response, expected)
        gradients = torch.autograd.grad(response.square().sum(), (embedded, weight))
        other = torch.autograd.grad(expected.square().sum(), (embedded, weight))
        for gradient, wanted in zip(gradients, other, strict=True):
            torch.testing.assert_close(gradient, wanted)


def test_conv_max_takes_views_and_works_in_bf16() -> None:
    whole = torch.randn(4, 5, 7, generator=keyed())
    embedded = whole.transpose(1, 2)
    weight = torch.randn(6, 15, generator=keyed())
    exact = conv_max(embedded, weight, 3)
    torch.testing.assert_close(exact, conv_max(embedded.contiguous(), weight, 3))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = conv_max(embedded, weight.requires_grad_(), 3)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.03)
    rounded.sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    assert math.isfinite(weight.grad.sum())


def test_conv_max_refuses_a_text_shorter_than_a_window() -> None:
    with pytest.raises(ValueError, match="width: a window of 5 does not fit 4 positions"):
        conv_max(torch.zeros(2, 4, 3), torch.zeros(1, 15), 5)
