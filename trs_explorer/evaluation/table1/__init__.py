"""The paper's Table 1: its own figures, the figures that runs have, and how the two compare. No torch."""
