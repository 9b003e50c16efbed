"""TRS (Transferability Reduced Smooth) ensembles: train them, attack them, see why attacks transfer."""

__version__ = "0.1.0"
