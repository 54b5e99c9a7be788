"""Where a headline's pieces come from, as a value, as JSON and as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape

SOURCES = ("article", "hot words", "history", "clicks")


@dataclass(frozen=True, kw_only=True)
class PieceExplanation:
    """One piece of a headline; the last one may be `<end>`.

    log_prob: of this piece after those before it, in nats. p_write: the copy gate's probability of writing
    out of the vocabulary instead of copying. copied: the probability that this very piece was copied, given
    that it came. attention: over the article's pieces, sums to 1.
    attributions: what each source adds to log_prob against its absence, in nats; it can be negative.
    """

    piece: str
    log_prob: float
    p_write: float
    copied: float
    attention: tuple[float, ...]
    attributions: Mapping[str, float]

    @property
    def shares(self) -> dict[str, float]:
        """Each source's part of all attributions' sizes, in [0, 1]; all 0 if nothing adds anything."""
        return shares(self.attributions)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A headline, piece by piece, and what each source adds to its log-probability.

    article: the pieces that were read. article_attributions: what each of them adds, in nats.
    log_prob, baseline_log_prob: of the whole headline, with everything and with every source absent, in nats.
    Their difference is the sum of all attributions, up to `gap`.
    """

    headline: str
    article: tuple[str, ...]
    pieces: tuple[PieceExplanation, ...]
    article_attributions: tuple[float, ...]
    log_prob: float
    baseline_log_prob: float

    @property
    def attributions(self) -> dict[str, float]:
        """What each source adds to the log-probability of the whole headline, in nats."""
        names = [name for name in SOURCES if any(name in piece.attributions for piece in self.pieces)]
        return {name: sum(piece.attributions[name] for piece in self.pieces) for name in names}

    @property
    def shares(self) -> dict[str, float]:
        """Each source's part of all attributions' sizes, in [0, 1]."""
        return shares(self.attributions)

    @property
    def gap(self) -> float:
        """By how much the attributions miss the difference of log-probabilities, in nats."""
        return sum(self.attributions.values()) - (self.log_prob - self.baseline_log_prob)

    def to_json(self) -> str:
        """All of it as one JSON document."""
        document = asdict(self) | {"attributions": self.attributions, "shares": self.shares, "gap": self.gap}
        return json.dumps(document, ensure_ascii=False)

    def to_html(self) -> str:
        """A page of its own: no scripts, nothing loaded from elsewhere, light or dark as the reader has it."""
        sources = list(self.attributions)
        return _PAGE.format(
            style=_STYLE,
            headline=escape(self.headline),
            legend="".join(f'<span class="key s{SOURCES.index(name)}">{name}</span>' for name in sources),
            bars=_bar("whole headline", self.shares, self.attributions)
            + "".join(_bar(piece.piece, piece.shares, piece.attributions) for piece in self.pieces),
            heads="".join(f"<th>{escape(_shown(piece))}</th>" for piece in self.article),
            rows="".join(map(self._row, self.pieces)) + self._attribution_row(),
            difference=f"{self.log_prob - self.baseline_log_prob:+.2f}",
            log_prob=f"{self.log_prob:.2f}",
            gap=f"{abs(self.gap):.3f}",
        )

    def _row(self, piece: PieceExplanation) -> str:
        largest = max(piece.attention, default=0.0)
        cells = "".join(
            _cell(weight, weight, f"{piece.piece} ← {source}: {weight:.3f}", strong=weight == largest)
            for source, weight in zip(self.article, piece.attention, strict=True)
        )
        figures = f"<td>{piece.p_write:.0%}</td><td>{piece.copied:.0%}</td>"
        return f"<tr><th>{escape(_shown(piece.piece))}</th>{figures}{cells}</tr>"

    def _attribution_row(self) -> str:
        largest = max(map(abs, self.article_attributions), default=0.0) or 1.0
        cells = "".join(
            _cell(abs(value) / largest, value, f"{source}: {value:+.3f} nats", against=value < 0)
            for source, value in zip(self.article, self.article_attributions, strict=True)
        )
        return f'<tr class="sum"><th>adds</th><td></td><td></td>{cells}</tr>'


def shares(attributions: Mapping[str, float]) -> dict[str, float]:
    """Each attribution's size over the sum of their sizes; all 0 where that is 0."""
    total = sum(map(abs, attributions.values()))
    return {name: abs(value) / total if total else 0.0 for name, value in attributions.items()}


def _shown(piece: str) -> str:
    """A piece of white space, made visible."""
    return piece if piece.strip() else "␣" * max(1, len(piece))


def _cell(heat: float, value: float, title: str, *, strong: bool = False, against: bool = False) -> str:
    if heat < 0.01:
        return "<td></td>"
    classes = [name for name, wanted in (("max", strong), ("neg", against)) if wanted]
    named = f' class="{" ".join(classes)}"' if classes else ""
    return f'<td{named} style="--a:{min(heat, 1.0):.2f}" title="{escape(title)}"></td>'


def _bar(name: str, parts: Mapping[str, float], values: Mapping[str, float]) -> str:
    spans = "".join(
        f'<i class="s{SOURCES.index(source)}" style="width:{share:.1%}" title="{source}: {values[source]:+.3f}"></i>'
        for source, share in parts.items()
    )
    told: Sequence[str] = [f"{source} {share:.0%} ({values[source]:+.2f})" for source, share in parts.items()]
    return f"<dt>{escape(_shown(name))}</dt><dd><b>{spans}</b><small>{', '.join(told)}</small></dd>"


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fdfdfc; --line: #d8d8d4; --heat: 196 78 20;
  --cold: 40 96 190; --s0: #c44e14; --s1: #2a7f62; --s2: #5b4fb0; --s3: #a8841a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --paper: #17181a; --line: #3a3c40; --heat: 255 140 80;
  --cold: 110 165 255; --s0: #ff8c50; --s1: #5cc29c; --s2: #a497ff; --s3: #e0bd55; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin-top: 2rem; } small, p.note { opacity: .75; }
.key { margin-right: 1rem; } .key::before { content: ""; display: inline-block; width: .8em; height: .8em;
  margin-right: .35em; background: var(--c); }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem .8rem; } dt { text-align: right; }
dd { margin: 0; display: flex; gap: .8rem; align-items: center; } dd small { flex: 0 0 26rem; }
dd b { flex: 1; display: flex; height: .9em; background: var(--line); } dd i { background: var(--c); }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
td, th { border: 1px solid var(--line); min-width: 1.4em; padding: .1em .25em; font-weight: normal; white-space: pre; }
td { background: rgb(var(--heat) / var(--a, 0)); } td.neg { background: rgb(var(--cold) / var(--a, 0)); }
td.max { outline: 2px solid var(--ink); outline-offset: -2px; }
thead th { vertical-align: bottom; } tbody th { position: sticky; left: 0; background: var(--paper); }
tr.sum > * { border-top-width: 3px; }
"""

_PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{headline}</title><style>{style}</style></head><body>
<h1>{headline}</h1>
<p class="note">A draft that can be false. Log-probability {log_prob} nats; all sources together add {difference} nats
to what it is without them (the parts miss that by {gap}).</p>
<h2>What each source adds</h2>
<p class="note">Its part of all that is added or taken away, and in brackets how much, in nats.</p>
<p>{legend}</p><dl>{bars}</dl>
<h2>Where each piece looks in the article</h2>
<p class="note">A row for each piece of the headline; stronger is more attention, and the frame marks the most.
"writes": how likely the model was to write out of its vocabulary instead of copying; "copied": how likely this piece
was copied. The last row is what each piece of the article adds to the headline's log-probability; the second
colour is against it. Rest the pointer on a cell for its number.</p>
<div class="wide"><table>
<thead><tr><th></th><th>writes</th><th>copied</th>{heads}</tr></thead>
<tbody>{rows}</tbody></table></div>
</body></html>
"""
