"""Exact operations over a large vocabulary that never hold all logits, and one over the windows of a text.

Suffixes: R rows (positions of any batch), H width of a hidden state, V vocabulary, K blocks of b tokens, N draws a row,
M = R·N; B texts, T positions, E width of an embedding, f width of a window, P = T - f + 1 windows, C maps. Lower-case r
and m are the rows of a chunk.

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
from torch.nn import functional

CPU_CHUNK = 160_000  # logits: 640 kB in fp32
GPU_CHUNK = 2**28  # logits: 1 GiB in fp32
CPU_GATHER, GPU_GATHER = 2**22, 2**26  # weights of the blocks drawn from: 16 and 256 MiB in fp32


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
    rows = rows or _chunk_rows(weight_VH)
    dtype = _product_dtype(hidden_RH)
    scaled_RH = (hidden_RH / temperature).to(dtype)
    weight_KbH, bias_Kb = _blocks(weight_VH.to(dtype), bias_V / temperature, block)
    weight_HV, flat_V = weight_KbH.flatten(0, 1).t(), bias_Kb.flatten()
    with torch.autocast(hidden_RH.device.type, enabled=False):
        mass = [
            _logits(hidden_rH, weight_HV, flat_V).softmax(1).view(-1, *bias_Kb.shape).sum(2)
            for hidden_rH in torch.split(scaled_RH, rows)
        ]
        upto_RK = torch.cat(mass).cumsum(1)
        uniform_RN = torch.rand(len(scaled_RH), n, generator=rng, device=hidden_RH.device)
        block_RN, rest_RN = _first_above(upto_RK, uniform_RN)
        # The few logits of the chosen blocks are computed again, which is cheaper than small steps in each chunk above.
        flat = scaled_RH.repeat_interleave(n, 0), block_RN.flatten(), rest_RN.flatten()
        size = max(1, (CPU_GATHER if hidden_RH.device.type == "cpu" else GPU_GATHER) // weight_KbH[0].numel())
        parts = zip(*(torch.split(x, size) for x in flat), strict=True)
        token = [
            _draw_within(weight_KbH[index_m], bias_Kb[index_m], wide_mH, rest_m) for wide_mH, index_m, rest_m in parts
        ]
    return block_RN * block + torch.cat(token).view_as(block_RN)


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
        # Not max, which finds the positions as well and takes twenty times as long.
        largest_BC = response_BPC.amax(1)
        ctx.shape, ctx.width = embedded_BTE.shape, width
        ctx.save_for_backward(windows_MfE, weight_CfE, response_BPC, largest_BC)
        return largest_BC

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BC: Tensor) -> tuple[Tensor | None, ...]:
        windows_MfE, weight_CfE, response_BPC, largest_BC = ctx.saved_tensors
        batch, length, size = ctx.shape
        num_windows = length - ctx.width + 1
        # Dense products with a gradient that is 0 but at the maxima are faster than gathering the windows.
        # Windows that are equally large share it, as torch.amax has it.
        at_maximum_BPC = response_BPC == largest_BC[:, None]
        share_BC = grad_BC / at_maximum_BPC.sum(1, dtype=grad_BC.dtype)
        grad_MC = (at_maximum_BPC * share_BC[:, None]).flatten(0, 1)
        grad_CfE = grad_MC.t() @ windows_MfE if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, grad_CfE, None
        grad_BPfE = (grad_MC @ weight_CfE).view(batch, num_windows, ctx.width, size)
        grad_BTE = grad_BC.new_zeros(batch, length, size)
        for offset in range(ctx.width):
            grad_BTE[:, offset : offset + num_windows] += grad_BPfE[:, :, offset]
        return grad_BTE, grad_CfE, None


def _blocks(weight_VH: Tensor, bias_V: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """The vocabulary as K blocks of b tokens, (K, b, H) and (K, b); what fills up the last one has no probability."""
    missing = -len(bias_V) % block
    if missing:
        weight_VH = functional.pad(weight_VH, (0, 0, 0, missing))
        bias_V = functional.pad(bias_V, (0, missing), value=-torch.inf)
    return weight_VH.reshape(-1, block, weight_VH.shape[1]), bias_V.reshape(-1, block)


def _draw_within(weight_mbH: Tensor, bias_mb: Tensor, hidden_mH: Tensor, uniform_m: Tensor) -> Tensor:
    """The token of each row's own block at which its mass passes `uniform` of the block's; (m,)."""
    logits_mb = (weight_mbH @ hidden_mH[:, :, None]).squeeze(2) + bias_mb
    token_m1, _ = _first_above(logits_mb.to(_exact_dtype(hidden_mH)).softmax(1).cumsum_(1), uniform_m[:, None])
    return token_m1.squeeze(1)


def _first_above(upto_RK: Tensor, uniform_RN: Tensor) -> tuple[Tensor, Tensor]:
    """The first place whose running sum is above `uniform` of the total, and how far into its own mass that lies.

    Both (R, N); the second again in [0, 1]. Held just below the total, which rounding may leave it at, so that the
    place always has mass.
    """
    total_R1 = upto_RK[:, -1:]
    threshold_RN = torch.minimum(uniform_RN * total_R1, total_R1 * (1 - torch.finfo(upto_RK.dtype).eps))
    place_RN = torch.searchsorted(upto_RK, threshold_RN, right=True)
    before_RN = upto_RK.gather(1, (place_RN - 1).clamp_min(0)).masked_fill_(place_RN == 0, 0.0)
    return place_RN, (threshold_RN - before_RN) / (upto_RK.gather(1, place_RN) - before_RN)


def _logits(hidden_rH: Tensor, weight_HV: Tensor, bias_V: Tensor) -> Tensor:
    """h W + b, a fresh tensor in the dtype of sums."""
    exact = _exact_dtype(hidden_rH)
    if hidden_rH.dtype == exact:
        return torch.addmm(bias_V.to(exact), hidden_rH, weight_HV)
    return (hidden_rH @ weight_HV).to(exact) + bias_V


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
