"""`hpo headline`: headlines for an article of your own, by a checkpoint of a study."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo.engine.files import S3, open_storage


def headline(
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="DIR", help="A checkpoint, as `hpo best` lists them.")
    ],
    article: Annotated[
        str, typer.Option("--article", metavar="FILE", help="The article, UTF-8 text; - for standard input.")
    ],
    n: Annotated[
        int | None, typer.Option("--n", help="How many headlines; distinct ones, as far as they come. [1]")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", help="0: the likeliest piece (for one headline); draws use 0.8."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", help="Draw among so many likeliest pieces; 0 for all.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", help="Draw among the likeliest pieces that hold this probability.")
    ] = None,
    no_repeat_ngram: Annotated[
        int | None,
        typer.Option("--no-repeat-ngram", help="So many pieces in a row come only once; 0 allows repeats."),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="The most pieces of a headline; else the model's own length.")
    ] = None,
    beam: Annotated[int | None, typer.Option("--beam", help="Beam search over so many headlines; 1 for none.")] = None,
    first: Annotated[
        int | None,
        typer.Option("--first", metavar="K", help="Draw K pieces, then take the likeliest (or the beam's)."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Key of all draws. [0]")] = None,
    keyword: Annotated[
        list[str] | None,
        typer.Option("--keyword", metavar="WORD", help="A word that the headline is about; repeatable."),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="FILE", help="What the reader read before, a text a line, the oldest first."),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="OUT.html", help="A page on where the first headline's pieces come from."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    device: Annotated[str | None, typer.Option("--device", help="cpu or cuda:0. [cpu]")] = None,
) -> None:
    """Write headlines for an article with a trained model. They are drafts: what they say can be false."""
    options = {
        "--checkpoint": checkpoint, "--article": article, "--n": n, "--temperature": temperature, "--top-k": top_k,
        "--top-p": top_p, "--no-repeat-ngram": no_repeat_ngram, "--max-length": max_length, "--beam": beam,
        "--first": first, "--seed": seed, "--history": history, "--explain": explain, "--device": device,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="hpo-headline-") as folder:
        if checkpoint.startswith(S3):
            options["--checkpoint"] = str(open_storage(checkpoint).fetch(checkpoint.rstrip("/"), Path(folder)))
        code = _headline(options, keyword or [], as_json)
    raise typer.Exit(code)


def _headline(options: dict[str, Any], keywords: list[str], as_json: bool) -> int:
    # NAME=VALUE: a value may begin with a dash.
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    given += [f"--keyword={word}" for word in keywords]
    given += ["--json"] if as_json else []
    # In a process of its own: the command line itself never loads torch.
    done = subprocess.run([sys.executable, "-m", "models.seqgan.headline", *given], check=False)
    return done.returncode
