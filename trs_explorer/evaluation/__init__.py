"""Evaluation: accuracy under attack, transfer between members, sanity checks, and the paper's Table 1.

Tensors in, numbers out. Every rate is a count over a named denominator, with its 95 % interval.
"""
