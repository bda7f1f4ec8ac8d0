"""Reference networks of the case studies, and how they are trained and stored."""

from torch import nn

from sciexplain.models.atomwise import AtomwiseNetwork
from sciexplain.models.augment import ShiftFlip, TimeJitter
from sciexplain.models.base import EEGNetwork, NetworkSizeError
from sciexplain.models.bond_graph import BOND_KINDS, BondGraphNet
from sciexplain.models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from sciexplain.models.checks import TrainingDataError
from sciexplain.models.deep4 import Deep4Net
from sciexplain.models.dtnn import DTNN
from sciexplain.models.eegnet import EEGNet
from sciexplain.models.efficientnet_lite import EfficientNetLite0, load_efficientnet_lite0
from sciexplain.models.graphs import Graphs
from sciexplain.models.schnet import SchNet
from sciexplain.models.shallow import ShallowConvNet
from sciexplain.models.small_cnns import DigitNet, PictureNetwork, ThumbnailNet
from sciexplain.models.training import (
    TrainingDivergedError,
    TrainingLog,
    accuracy,
    fit,
    predict,
    predict_logits,
)

NETWORKS: dict[str, type[EEGNetwork]] = {net.__name__: net for net in (ShallowConvNet, Deep4Net, EEGNet)}
PICTURE_NETWORKS: dict[str, type[nn.Module]] = {
    net.__name__: net for net in (DigitNet, ThumbnailNet, EfficientNetLite0)
}
MOLECULE_NETWORKS: dict[str, type[AtomwiseNetwork]] = {
    net.__name__: net for net in (DTNN, SchNet, BondGraphNet)
}

__all__ = [
    "BOND_KINDS",
    "DTNN",
    "MOLECULE_NETWORKS",
    "NETWORKS",
    "PICTURE_NETWORKS",
    "AtomwiseNetwork",
    "BondGraphNet",
    "CheckpointError",
    "Deep4Net",
    "DigitNet",
    "EEGNet",
    "EEGNetwork",
    "EfficientNetLite0",
    "Graphs",
    "NetworkSizeError",
    "PictureNetwork",
    "SchNet",
    "ShallowConvNet",
    "ShiftFlip",
    "ThumbnailNet",
    "TimeJitter",
    "TrainingDataError",
    "TrainingDivergedError",
    "TrainingLog",
    "accuracy",
    "fit",
    "load_checkpoint",
    "load_efficientnet_lite0",
    "predict",
    "predict_logits",
    "save_checkpoint",
]
