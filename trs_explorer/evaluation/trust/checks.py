"""The checks of whether figures can be trusted, by number and in words. No torch: whoever reads stored results needs them too."""

# What is checked, by its number, in the words of a passed check.
CHECKS = {
    1: "iterated attacks leave no more images correct than a single step",
    2: "with ε 1 no image is still classified correctly",
    3: "accuracy falls as ε grows",
    4: "images made on another model, or without gradients, do no better than the attack itself",
    5: "no input gradient is zero, NaN or infinite",
    6: "the last 10 steps change nothing any more",
    7: "no attack visits an adversarial example without returning one",
    8: "attacks of one radius agree, on cross-entropy and on the margin",
    9: "the same images give the same outputs",
    10: "outputs are logits or log-probabilities",
    11: "eval mode, pixels in [0, 1], nothing moved by more than eps",
    12: "with ε 0 the accuracy is the clean one",
    13: "five random starts find no more than one",
    14: "there are classes enough for every attack",
    15: "random noise does no better than the attack",
    16: "attacks on single members, or with their weights changed, do no better",
    17: "an image on which the attack failed comes back as it was",
}

# Those that warn when an attack which follows the gradient misses images that are there to be found, so that its figures flatter
# the model. Source: Athalye et al., "Obfuscated gradients give a false sense of security", 2018, section 3.1; 8 and 16 are ours.
MASKING = (1, 2, 4, 5, 8, 15, 16)
