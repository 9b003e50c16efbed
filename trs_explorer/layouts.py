"""The published layouts of reference checkpoints, by name. No torch; how they are read: `models/layouts/`.

Two repositories publish PyTorch code that trains such ensembles, and each saves all its methods in one form:
- AI-secure/Transferability-Reduced-Smooth-Ensemble, train/Empirical/train_{trs,dverge,adp,gal}.py: a file for each member.
- zjysteven/DVERGE, train/train_{dverge,adp,gal}.py: one file with all members.
ADP's own code (P2333/Adaptive-Diversity-Promoting, train_cifar.py) saves Keras files, model.NNN.h5, whose input is an image minus
the training set's mean image: they are not read. For GAL no code of its authors was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Form:
    """How a repository saves an ensemble.

    - name: says whose form it is.
    - holds: what a file of it holds, for messages.
    """

    name: str
    holds: str


TRS_FORM = Form(
    "the TRS repository",
    "one file for each member (checkpoint.pth.tar.0, .1, ...), a dict with arch and state_dict, whose keys are "
    "module.1.conv1.weight, ...",
)
DVERGE_FORM = Form(
    "the DVERGE repository",
    "one file for all members (epoch_200.pth), a dict with model_0, model_1, ..., whose keys are "
    "model.conv1.weight, ..., normalizer.std",
)


@dataclass(frozen=True)
class Layout:
    """A layout: the method that it is named after, in the forms in which repositories publish it.

    - summary: one line about it.
    - forms: the forms that are read.
    - leaky: the forms whose members have leaky ReLUs (slope 0.1), which their weights do not show.
    """

    summary: str
    forms: tuple[Form, ...]
    leaky: tuple[Form, ...] = ()


_DVERGE = (DVERGE_FORM,)
_BOTH = TRS_FORM, DVERGE_FORM

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "trs": Layout("TRS as its authors' code saves it: checkpoint.pth.tar.0 checkpoint.pth.tar.1 ...", (TRS_FORM,)),
        "dverge": Layout("DVERGE as its authors' code saves it (epoch_200.pth), or as the TRS repository does", _BOTH),
        "adp": Layout("ADP as the DVERGE or the TRS repository trains it in PyTorch; not the Keras files of its authors", _BOTH),
        # get_models(leaky_relu=True) in DVERGE's train_gal.py; architectures.py of the TRS repository has ReLUs only
        "gal": Layout("GAL as the DVERGE repository trains it (leaky ReLUs), or the TRS repository (ReLUs)", _BOTH, _DVERGE),
    }
)
