"""Benchmarks: interleaved runs, medians and ratios. They are never tests, because figures depend on the machine."""
