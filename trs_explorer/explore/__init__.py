"""Planes, slices, attack paths and angles as arrays; background jobs; the library of runs. No dash, no training."""
