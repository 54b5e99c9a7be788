"""What a study comes to: its tables, its analysis, and the page that shows it.

`reading` takes a Record out of a store, in pages. `analysis` and `importance` are functions of a Record, `summary` says
it in sentences, `figures` as charts, and `page` puts all of it into one file. `tables` and `formats` are exports;
`to_optuna` and `from_optuna` exchange with Optuna.
"""
