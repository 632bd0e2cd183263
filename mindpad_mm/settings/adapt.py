"""Settings of learning a detector's padding."""

from __future__ import annotations

from dataclasses import dataclass

from mindpad_mm.core.errors import UserError
from mindpad_mm.core.settings import option


@dataclass(frozen=True)
class AdaptSettings:
    """How padding learns, and how long the measurement after it takes.

    Attributes:
        steps: Steps of Adam.
        batch: Windows a step.
        rate: Learning rate of the first step; it falls to 0 by half a cosine.
        surroundings: Pixels of the photo that the teacher sees around a window, on each side. A multiple
            of the strides of the levels that are to learn.
        near: The loss looks at priors of at most these many pixels from a side of the window.
        sizes: Longer sides of pasted objects, pixels of the network's input; learning pastes any size
            between the smallest and the largest.
        label: Name of the class of pasted objects. Default: ``traffic light`` if the detector has it,
            else its only class.
        minutes: Time of the measurement on held-out photos; 0 takes everything.
        seed: Of held-out photos, windows and objects.

    Raises:
        UserError: A value is not possible.
    """

    steps: int = option(400, 'steps of learning', metavar='N')
    batch: int = option(4, 'windows a step', metavar='N')
    rate: float = option(0.01, 'learning rate of the first step')
    surroundings: int = option(
        64, 'pixels of the photo that the teacher sees around a window', metavar='PX'
    )
    near: int = option(64, 'learn at priors of at most these many pixels from a side', metavar='PX')
    sizes: tuple[int, ...] = option(
        (32,), 'longer sides of --object, pixels', flag='--size', metavar='PX'
    )
    label: str | None = option(
        None, "class of pasted objects ('traffic light' if there is one, else the only class)"
    )
    minutes: float = option(5, 'time of the measurement on held-out photos; 0 takes everything')
    seed: int = option(0, 'seed of held-out photos, windows and objects')

    def __post_init__(self) -> None:
        rules = {
            'steps': (self.steps >= 1, 'it must be at least 1'),
            'batch': (self.batch >= 1, 'it must be at least 1'),
            'rate': (0 < self.rate < float('inf'), 'it must be above 0'),
            'surroundings': (self.surroundings >= 1, 'it must be at least 1 pixel'),
            'near': (self.near >= 1, 'it must be at least 1 pixel'),
            'sizes': (
                bool(self.sizes) and min(self.sizes) >= 1,
                'each must be at least 1 pixel',
            ),
            'minutes': (0 <= self.minutes < float('inf'), 'it must be at least 0'),
            'seed': (0 <= self.seed < 1 << 32, 'it must be from 0 to 2**32 - 1'),
        }
        for name, (possible, rule) in rules.items():
            if not possible:
                value = getattr(self, name)
                shown = ' '.join(map(str, value)) if isinstance(value, tuple) else repr(value)
                raise UserError(f'`{name}` {shown} is not possible: {rule}')
