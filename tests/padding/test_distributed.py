"""A swapped model trains under DistributedDataParallel as in one process."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mindpad_mm import swap_padding


def swapped_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, 2, padding=2, dilation=2)
    )
    swap_padding(net, 'reflect', include=['0'])
    swap_padding(net, 'partial', include=['2'])
    return net


def batch() -> torch.Tensor:
    return torch.rand(4, 2, 9, 9, generator=torch.Generator().manual_seed(1))


def train_on_half(rank: int, store: str, out: str) -> None:
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    net = DistributedDataParallel(swapped_net())
    net(batch()[2 * rank : 2 * rank + 2]).pow(2).mean().backward()
    if rank == 0:
        torch.save([p.grad for p in net.parameters()], out)
    dist.destroy_process_group()


def test_gradients_of_two_processes_equal_those_of_one(tmp_path):
    out = str(tmp_path / 'grads.pth')
    mp.spawn(train_on_half, args=(str(tmp_path / 'store'), out), nprocs=2)
    net = swapped_net()
    net(batch()).pow(2).mean().backward()
    for grad, parameter in zip(torch.load(out), net.parameters()):
        torch.testing.assert_close(grad, parameter.grad)
