"""Kinds of inputs, by name."""

from fuzz.kinds.annotations import Annotations, Evaluations
from fuzz.kinds.base import Kind
from fuzz.kinds.checkpoints import Checkpoints
from fuzz.kinds.commands import Commands
from fuzz.kinds.configs import Configs
from fuzz.kinds.images import Images
from fuzz.kinds.outputs import Outputs

KINDS: dict[str, type[Kind]] = {
    'images': Images,
    'annotations': Annotations,
    'evaluations': Evaluations,
    'checkpoints': Checkpoints,
    'configs': Configs,
    'outputs': Outputs,
    'commands': Commands,
}

__all__ = ['KINDS', 'Kind']
