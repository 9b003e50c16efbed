"""Defences: one function each, that gives a batch's named loss terms. The table is `catalogue.METHODS`."""
