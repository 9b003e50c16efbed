"""The 17 sanity checks of whether robust accuracies can be trusted.

checks: the numbered list, `CHECKS`.  from_rates: those that look at rates and outputs.  from_attacks: those that attack again.
"""
