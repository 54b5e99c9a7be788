"""Exact operations over a large vocabulary that never hold all logits, and one over the windows of a text.

Suffixes: R rows (positions of any batch), H width of a hidden state, V vocabulary, N draws a row; B texts, T positions,
E width of an embedding, f width of a window, P = T - f + 1 windows, C maps.

Logits are computed some rows at a time. On a CPU such a chunk stays in the second-level cache, where the passes over it
cost next to nothing beside the matrix products; on a GPU it is large and only bounds memory. The products run in the
dtype of the inputs, or of torch.autocast inside it; sums over the vocabulary and gradients of the weights are kept in
fp32 (in fp64 for fp64 inputs).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CPU_CHUNK = 160_000  # logits: 640 kB in fp32
GPU_CHUNK = 2**28  # logits: 1 GiB in fp32


def linear_cross_entropy(
    hidden_RH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor,
    target_R: Tensor,
    weight_R: Tensor,
    *,
    rows: int | None = None,
) -> tuple[Tensor, Tensor]:
    """sum_r weight_r · −log softmax(h_r Wᵀ + b)[target_r], and −log softmax itself, shape (R,), in nats.

    Equals `functional.cross_entropy` on the logits. Where a gradient is wanted it is computed along with the loss, so
    the logits are computed once: three matrix products in all. Only the first result can be differentiated, and only
    once. `rows` is the size of a chunk.
    """
    wants_gradient = torch.is_grad_enabled()
    rows = rows or _chunk_rows(weight_VH)
    loss, nll_R = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_RH, weight_VH, bias_V, target_R, weight_R, rows, wants_gradient
    )
    return loss, nll_R


def linear_log_prob(
    hidden_RH: Tensor, weight_VH: Tensor, bias_V: Tensor, target_R: Tensor, *, rows: int | None = None
) -> Tensor:
    """log softmax(h_r Wᵀ + b)[target_r], shape (R,), in nats; at most 0.

    For losses that aren't a weighted sum of these (a copy gate mixes them with other probabilities). Going back, each
    chunk's logits are computed again: four matrix products in all, and one number a row is remembered.
    """
    rows = rows or _chunk_rows(weight_VH)
    result: Tensor = _LinearLogProb.apply(hidden_RH, weight_VH, bias_V, target_R, rows)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def draw_linear(
    hidden_RH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor,
    *,
    n: int = 1,
    temperature: float = 1.0,
    rng: torch.Generator,
    rows: int | None = None,
    block: int = 64,
) -> Tensor:
    """N independent draws from softmax((h_r Wᵀ + b) / temperature) for each row: (R, N), int64.

    The inverse of the cumulative distribution in two steps, first a block of the vocabulary, then a token in it, with
    one uniform number a draw. Exact up to the rounding of fp32: a token below 2^-24 may never come, and one whose
    probability underflows to 0 (a bias of -1e4) never does. `torch.multinomial` takes several times as long.

    Raises ValueError for a temperature that isn't above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: {temperature} is not above 0; take the most probable token instead")
    vocabulary = weight_VH.shape[0]
    rows = rows or _chunk_rows(weight_VH)
    num_blocks = -(-vocabulary // block)
    dtype = _product_dtype(hidden_RH)
    scaled_RH = (hidden_RH / temperature).to(dtype)
    weight_HV, scaled_V = weight_VH.to(dtype).t(), bias_V / temperature
    uniform_RN = torch.rand(hidden_RH.shape[0], n, generator=rng, device=hidden_RH.device)
    # The columns beyond the vocabulary stay 0: they fill the last block up.
    shape = (min(rows, hidden_RH.shape[0]), num_blocks * block)
    room = torch.zeros(shape, dtype=_exact_dtype(scaled_RH), device=hidden_RH.device)
    drawn = []
    with torch.autocast(hidden_RH.device.type, enabled=False):
        for hidden_rH, uniform_rN in zip(torch.split(scaled_RH, rows), torch.split(uniform_RN, rows), strict=True):
            mass = room[: hidden_rH.shape[0]]
            logits_rV = mass[:, :vocabulary]
            _logits(hidden_rH, weight_HV, scaled_V, out=logits_rV)
            logits_rV.sub_(logits_rV.amax(1, keepdim=True)).exp_()
            drawn.append(_inverse_cdf(mass.view(-1, num_blocks, block), uniform_rN))
    return torch.cat(drawn) if drawn else hidden_RH.new_empty(0, n, dtype=torch.int64)


def conv_max(embedded_BTE: Tensor, weight: Tensor, width: int) -> Tensor:
    """The largest response of each filter over all windows of `width` positions, shape (B, C); no bias.

    `weight` is (C, f, E) or (C, f·E). Equals a convolution over time followed by a maximum over time (Kim 2014,
    arXiv:1408.5882), as one node: PyTorch's own convolution is slow for long windows over few positions. A bias, and
    any increasing activation, may follow the maximum instead of going before it: the result is the same.
    Raises ValueError when the text is shorter than a window.
    """
    if embedded_BTE.shape[1] < width:
        raise ValueError(
            f"width: a window of {width} does not fit {embedded_BTE.shape[1]} positions; use a narrower one"
        )
    dtype = _product_dtype(embedded_BTE)
    arguments = embedded_BTE.to(dtype), weight.flatten(1).to(dtype), width
    response_BC: Tensor = _ConvMax.apply(*arguments)  # type: ignore[no-untyped-call]
    return response_BC


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_RH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor,
        target_R: Tensor,
        weight_R: Tensor,
        rows: int,
        wants_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        dtype, exact = _product_dtype(hidden_RH), _exact_dtype(hidden_RH)
        h_RH, w_VH, w_R = hidden_RH.to(dtype), weight_VH.to(dtype), weight_R.to(exact)
        nll_R = torch.empty_like(w_R)
        gradient = _Gradient(h_RH, w_VH, exact) if wants_gradient and any(ctx.needs_input_grad[:3]) else None
        with torch.autocast(hidden_RH.device.type, enabled=False):
            for start in range(0, len(h_RH), rows):
                part = slice(start, start + rows)
                target_r1, weight_r1 = target_R[part, None], w_R[part, None]
                logits_rV = _logits(h_RH[part], w_VH.t(), bias_V)
                logits_rV -= logits_rV.amax(1, keepdim=True)
                chosen_r1 = logits_rV.gather(1, target_r1)
                mass_rV = logits_rV.exp_()
                total_r1 = mass_rV.sum(1, keepdim=True)
                nll_R[part] = (total_r1.log() - chosen_r1).squeeze(1)
                if gradient is not None:
                    # d(−log softmax) / d logits = softmax − one-hot.
                    mass_rV *= weight_r1 / total_r1
                    mass_rV.scatter_add_(1, target_r1, -weight_r1)
                    gradient.add(part, mass_rV)
        ctx.dtypes = hidden_RH.dtype, weight_VH.dtype, bias_V.dtype, weight_R.dtype
        ctx.save_for_backward(nll_R, *(gradient.tensors if gradient else ()))
        ctx.mark_non_differentiable(nll_R)
        return (nll_R * w_R).sum(), nll_R

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        nll_R, *tensors = ctx.saved_tensors
        inputs = [*tensors, None, nll_R] if tensors else [None, None, None, None, nll_R]
        results: list[Tensor | None] = [None] * 7
        for i, dtype in zip((0, 1, 2, 4), ctx.dtypes, strict=True):
            if ctx.needs_input_grad[i]:
                results[i] = (inputs[i] * grad).to(dtype)
        return tuple(results)


class _LinearLogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_RH: Tensor, weight_VH: Tensor, bias_V: Tensor, target_R: Tensor, rows: int) -> Tensor:
        dtype, exact = _product_dtype(hidden_RH), _exact_dtype(hidden_RH)
        h_RH, w_VH = hidden_RH.to(dtype), weight_VH.to(dtype)
        log_total_R = torch.empty(len(h_RH), dtype=exact, device=h_RH.device)
        log_prob_R = torch.empty_like(log_total_R)
        with torch.autocast(hidden_RH.device.type, enabled=False):
            for start in range(0, len(h_RH), rows):
                part = slice(start, start + rows)
                logits_rV = _logits(h_RH[part], w_VH.t(), bias_V)
                chosen_r = logits_rV.gather(1, target_R[part, None]).squeeze(1)
                largest_r1 = logits_rV.amax(1, keepdim=True)
                total_r = (logits_rV.sub_(largest_r1)).exp_().sum(1)
                log_total_R[part] = total_r.log() + largest_r1.squeeze(1)
                # Not chosen − log_total: both may be large, and their difference small.
                log_prob_R[part] = (chosen_r - largest_r1.squeeze(1)) - total_r.log()
        ctx.rows, ctx.dtypes = rows, (hidden_RH.dtype, weight_VH.dtype, bias_V.dtype)
        ctx.save_for_backward(h_RH, w_VH, bias_V, target_R, log_total_R)
        return log_prob_R

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_R: Tensor) -> tuple[Tensor | None, ...]:
        h_RH, w_VH, bias_V, target_R, log_total_R = ctx.saved_tensors
        gradient = _Gradient(h_RH, w_VH, log_total_R.dtype)
        with torch.autocast(h_RH.device.type, enabled=False):
            for start in range(0, len(h_RH), ctx.rows):
                part = slice(start, start + ctx.rows)
                grad_r1 = grad_R[part, None]
                logits_rV = _logits(h_RH[part], w_VH.t(), bias_V)
                prob_rV = logits_rV.sub_(log_total_R[part, None]).exp_()
                prob_rV *= -grad_r1
                prob_rV.scatter_add_(1, target_R[part, None], grad_r1)
                gradient.add(part, prob_rV)
        tensors = (tensor.to(dtype) for tensor, dtype in zip(gradient.tensors, ctx.dtypes, strict=True))
        return (*tensors, None, None)


class _Gradient:
    """Gradients of hidden_RH, weight_VH and bias_V, summed over chunks of rows."""

    def __init__(self, hidden_RH: Tensor, weight_VH: Tensor, exact: torch.dtype) -> None:
        self.hidden_RH, self.weight_VH = hidden_RH, weight_VH
        self.tensors = (
            torch.empty_like(hidden_RH, dtype=exact),
            torch.zeros_like(weight_VH, dtype=exact),
            torch.zeros(len(weight_VH), dtype=exact, device=weight_VH.device),
        )

    def add(self, part: slice, logits_rV: Tensor) -> None:
        """`logits_rV` is the gradient of the logits of the rows `part`."""
        grad_RH, grad_VH, grad_V = self.tensors
        grad_V += logits_rV.sum(0)
        logits_rV = logits_rV.to(self.weight_VH.dtype)
        grad_RH[part] = logits_rV @ self.weight_VH
        if grad_VH.dtype == logits_rV.dtype:
            grad_VH.addmm_(logits_rV.t(), self.hidden_RH[part])
        else:
            grad_VH += logits_rV.t() @ self.hidden_RH[part]


class _ConvMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedded_BTE: Tensor, weight_CfE: Tensor, width: int) -> Tensor:
        batch, _, size = embedded_BTE.shape
        # Neighbouring positions lie side by side, so that a window is a stretch of width·E numbers.
        windows_BPfE = embedded_BTE.flatten(1).unfold(1, width * size, size)
        windows_MfE = windows_BPfE.reshape(-1, width * size)
        response_BPC = (windows_MfE @ weight_CfE.t()).view(batch, -1, len(weight_CfE))
        largest_BC, position_BC = response_BPC.max(1)
        ctx.shape, ctx.width = embedded_BTE.shape, width
        ctx.save_for_backward(windows_MfE, weight_CfE, position_BC)
        return largest_BC

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BC: Tensor) -> tuple[Tensor | None, ...]:
        windows_MfE, weight_CfE, position_BC = ctx.saved_tensors
        batch, length, size = ctx.shape
        num_windows = length - ctx.width + 1
        # Dense products with a gradient that is 0 but at the maxima are faster than gathering the windows.
        grad_BPC = grad_BC.new_zeros(batch, num_windows, len(weight_CfE))
        grad_MC = grad_BPC.scatter_(1, position_BC[:, None], grad_BC[:, None]).flatten(0, 1)
        grad_CfE = grad_MC.t() @ windows_MfE if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, grad_CfE, None
        grad_BPfE = (grad_MC @ weight_CfE).view(batch, num_windows, ctx.width, size)
        grad_BTE = grad_BC.new_zeros(batch, length, size)
        for offset in range(ctx.width):
            grad_BTE[:, offset : offset + num_windows] += grad_BPfE[:, :, offset]
        return grad_BTE, grad_CfE, None


def _inverse_cdf(mass_rKb: Tensor, uniform_rN: Tensor) -> Tensor:
    """The tokens at which unnormalised mass, K blocks of b tokens, passes `uniform` of its total; (r, N)."""
    upto_rK = mass_rKb.sum(2).cumsum(1)
    block_rN, rest_rN = _first_above(upto_rK, uniform_rN * upto_rK[:, -1:])
    inner_rNb = mass_rKb.gather(1, block_rN[..., None].expand(-1, -1, mass_rKb.shape[2])).cumsum_(2)
    token_rN1, _ = _first_above(inner_rNb, rest_rN[..., None])
    return block_rN * mass_rKb.shape[2] + token_rN1.squeeze(2)


def _first_above(upto: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """The first place on the last axis where a running sum is above the threshold, and the threshold left there.

    Held just below the total, which rounding may leave it at, so that the place always has mass.
    """
    threshold = torch.minimum(threshold, upto[..., -1:] * (1 - torch.finfo(upto.dtype).eps))
    place = torch.searchsorted(upto, threshold.contiguous(), right=True)
    before = upto.gather(-1, (place - 1).clamp_min(0)).masked_fill_(place == 0, 0.0)
    return place, threshold - before


def _logits(hidden_rH: Tensor, weight_HV: Tensor, bias_V: Tensor, out: Tensor | None = None) -> Tensor:
    """h W + b in the dtype of sums; a fresh tensor, or `out`."""
    exact = _exact_dtype(hidden_rH)
    if hidden_rH.dtype == exact:
        return torch.addmm(bias_V.to(exact), hidden_rH, weight_HV, out=out)
    return torch.add(hidden_rH @ weight_HV, bias_V.to(exact), out=out)


def _product_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype of matrix products with this tensor: autocast's inside autocast."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype


def _exact_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _chunk_rows(weight_VH: Tensor) -> int:
    """Rows whose logits make a chunk."""
    vocabulary = max(1, weight_VH.shape[0])
    if weight_VH.device.type == "cpu":
        return max(8, CPU_CHUNK // vocabulary)
    return max(64, min(4096, GPU_CHUNK // vocabulary))
