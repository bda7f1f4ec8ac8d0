"""Reference networks of the case studies, and how they are trained and stored."""

from sciexplain.models.augment import TimeJitter
from sciexplain.models.base import EEGNetwork, NetworkSizeError
from sciexplain.models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from sciexplain.models.checks import TrainingDataError
from sciexplain.models.deep4 import Deep4Net
from sciexplain.models.eegnet import EEGNet
from sciexplain.models.shallow import ShallowConvNet
from sciexplain.models.training import (
    TrainingDivergedError,
    TrainingLog,
    accuracy,
    fit,
    predict,
    predict_logits,
)

NETWORKS: dict[str, type[EEGNetwork]] = {net.__name__: net for net in (ShallowConvNet, Deep4Net, EEGNet)}

__all__ = [
    "NETWORKS",
    "CheckpointError",
    "Deep4Net",
    "EEGNet",
    "EEGNetwork",
    "NetworkSizeError",
    "ShallowConvNet",
    "TimeJitter",
    "TrainingDataError",
    "TrainingDivergedError",
    "TrainingLog",
    "accuracy",
    "fit",
    "load_checkpoint",
    "predict",
    "predict_logits",
    "save_checkpoint",
]
