"""A member whose boundary is a straight line."""

import torch


class Line(torch.nn.Module):
    """Two classes on either side of a line in the plane: class 1 where weight . x > offset."""

    def __init__(self, weight, offset):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight), requires_grad=False)
        self.offset = offset

    def forward(self, x):
        score = x.flatten(1) @ self.weight - self.offset
        return torch.stack([-score, score], -1)
