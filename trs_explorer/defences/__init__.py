"""Defences: one function each, which returns a batch's named loss terms, including "total". The table is `catalogue.METHODS`.

A defence is called as f(ensemble, x, y, **options, **step_context); all but the first three are keyword-only. Of the step's
context it gets what its signature names, see `training.steps.step_context`: how far the training is (progress), random
numbers of the step (generator) or of the epoch (epoch_generator), the images on which cross-entropy is taken (x_ce), a second,
independently drawn batch (other), what the method keeps of every training image (image_memory, rows), the images' places in the
batch (places), and where members are trained one after another the member and its images' weights.

Threads and processes compute parts of a batch. What a defence draws by `batch_noise` from its generator does not depend on the
parts: rand(x.shape, generator=generator) in place of torch.rand, and shared(generator) for what all images have in common. Plain
draws from the generator are independent between the parts, but others in another number of parts.
"""
