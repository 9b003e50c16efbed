"""Attacks: functions that look, inside a small ball around an image, for one that a model gets wrong.

    attack(model, x, y, *, eps, ..., targeted=False, generator=None) -> x_adv

What every attack here promises; `common` holds the parts that they share:

- x may be of any floating type from float16 to float64, which the model must take; x_adv has the same, and lies in the ball
  exactly: no rounding leaves it.
- x and x_adv lie in [0, 1], eps is a radius in those raw pixels; y is the true class, or the wanted one if targeted.
- The model may return logits or log-probabilities. It runs in eval mode; modes, buffers and .grad are left as they were.
- Per example, the result is the iterate with the highest loss among all that fool the model, over all restarts, x itself
  included. Where none fools it, the result is x, unchanged. The attacks without a ball give the nearest one instead.
- More restarts never lose an image that fewer have fooled.
- The loss is summed over the batch and every example draws its own noise, so that what happens to an image does not depend
  on the images beside it (up to the rounding of a differently shaped matrix product).
"""
