"""Benchmarks: interleaved runs, medians and ratios. Never a test: figures belong to a machine."""
