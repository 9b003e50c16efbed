"""The paper's bounds on transfer (Theorems 1 and 2): their quantities, estimated from a sample, and what the bounds then say.

theorems: the bounds as formulas.  vacuous: why a bound says nothing.  per_image: what is measured of every image.
measured: how the images are attacked and measured.  of_pairs: the bounds of every pair of members, over
radii.  rows: these as a table.  words: what they say, in sentences.
"""
