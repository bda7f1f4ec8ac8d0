"""Reference networks of the case studies, and how they are trained and stored."""

from torch import nn

from sciexplain.models.augment import ShiftFlip, TimeJitter
from sciexplain.models.base import EEGNetwork, NetworkSizeError
from sciexplain.models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from sciexplain.models.checks import TrainingDataError
from sciexplain.models.deep4 import Deep4Net
from sciexplain.models.eegnet import EEGNet
from sciexplain.models.efficientnet_lite import EfficientNetLite0, load_efficientnet_lite0
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

__all__ = [
    "NETWORKS",
    "PICTURE_NETWORKS",
    "CheckpointError",
    "Deep4Net",
    "DigitNet",
    "EEGNet",
    "EEGNetwork",
    "EfficientNetLite0",
    "NetworkSizeError",
    "PictureNetwork",
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
