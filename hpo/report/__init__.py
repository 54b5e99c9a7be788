"""What a study comes to: its analysis, and the page that shows it.

`reading` takes a Record out of a store, in pages. The analysis is functions of a Record: `history`, `pareto`,
`importance`, `rungs`, `family`, `failures`, `effort`, `leaders`. `summary` says it in sentences, `figures` as charts,
and `page` puts all of it into one file.
"""
