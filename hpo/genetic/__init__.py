"""The parts of our genetic search as functions over arrays. Nothing here imports from the rest of hpo.

Shape legend: n configurations, d genes (the coordinates of the unit cube), m objectives (lower is better), k offspring.
"""
