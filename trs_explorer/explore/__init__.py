"""Planes, slices, paths and angles as arrays, for the views. No dash, no training."""
