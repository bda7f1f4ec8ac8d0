"""Networks that play: Nature-DQN (Mnih et al. 2015), dueling (Wang et al. 2016), stable-baselines3."""

import gymnasium
import numpy as np
import torch
from torch import nn

from tests.zoo.attention import series
from tests.zoo.checks import Case

FRAMES = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
STATE = gymnasium.spaces.Box(-np.inf, np.inf, (6,), np.float32)
BUTTONS = gymnasium.spaces.Discrete(4)
FORCE = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


class NatureDQN(nn.Module):
    """Four frames of unsigned bytes; the network itself scales them."""

    def __init__(self, actions=4):
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(4, 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3136, 512),
            nn.ReLU(),
            nn.Linear(512, actions),
        )

    def forward(self, x):
        return self.network(x / 255.0)


class DuelingDQN(nn.Module):
    """Value plus centred advantages, from float frames that were bytes."""

    def __init__(self, actions=4):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 8, 8, 4), nn.Conv2d(8, 8, 4, 2)
        self.value, self.advantage = nn.Linear(8 * 81, 1), nn.Linear(8 * 81, actions)

    def forward(self, x):
        x = x.float().div_(255)
        x = torch.relu(self.conv2(torch.relu(self.conv1(x)))).reshape(x.shape[0], -1)
        value, advantage = self.value(x), self.advantage(x)
        return value + (advantage - advantage.mean(dim=1, keepdim=True))


def schedule(_):
    return 1e-4


def dqn_policy():
    from stable_baselines3.dqn.policies import CnnPolicy

    return CnnPolicy(FRAMES, BUTTONS, schedule)


def ppo_policy():
    from stable_baselines3.ppo.policies import MlpPolicy

    return MlpPolicy(STATE, BUTTONS, schedule, net_arch={"pi": [16, 16], "vf": [16]})


def ppo_cnn_policy():
    from stable_baselines3.ppo.policies import CnnPolicy

    return CnnPolicy(FRAMES, BUTTONS, schedule, features_extractor_kwargs={"features_dim": 32})


def sac_policy():
    from stable_baselines3.sac.policies import MlpPolicy

    return MlpPolicy(STATE, FORCE, schedule, net_arch=[16, 16])


def frames(batch):
    """Mostly dark screens: 0, with some bright pixels."""
    g = torch.Generator().manual_seed(7)
    bright = torch.rand(batch, 4, 84, 84, generator=g) < 0.2
    return torch.randint(1, 256, bright.shape, dtype=torch.uint8, generator=g) * bright


def mean_action(batch):
    """Observations, and that the action is not to be drawn."""
    return series(6)(batch), True


def action_logits(policy):
    """The policy's log-probabilities of its actions, as its own distribution object holds them."""
    return lambda observation: policy.get_distribution(observation).distribution.logits


CASES = {
    "Nature-DQN": Case(NatureDQN, frames, double=False),
    "dueling DQN": Case(DuelingDQN, frames, double=False),
    "stable-baselines3 DQN": Case(lambda: dqn_policy().q_net, frames, double=False),
    "stable-baselines3 PPO": Case(
        lambda: action_logits(ppo_policy().eval()), series(6), options={"output": "as_is"}
    ),
    "stable-baselines3 PPO on frames": Case(
        lambda: action_logits(ppo_cnn_policy().eval()), frames, options={"output": "as_is"}
    ),
    "stable-baselines3 SAC actor": Case(lambda: sac_policy().actor, mean_action, double=False),
}
