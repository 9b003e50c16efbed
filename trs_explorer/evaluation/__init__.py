"""Evaluation: accuracy under attack, transfer between members, and whether the numbers can be trusted.

Every rate is a count over a named denominator, with its 95 % interval.
"""
