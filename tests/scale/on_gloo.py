"""`python on_gloo.py scripts/train.py ...`: accelerate shards by FSDP on CPUs too, which it does on GPUs only.

torch can; it is accelerate that takes CPUs for plain data parallelism, whatever its settings say.
"""

import os
import runpy
import sys

import torch.distributed
from accelerate import PartialState
from accelerate.utils import DistributedType

from brainmri.training import processes

os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
start = PartialState.__init__


def over_gloo(self: PartialState, cpu: bool = False, **kwargs: object) -> None:
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    start(self, cpu=cpu, **kwargs)


PartialState.__init__ = over_gloo
PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
processes.check_launch = lambda *_, **__: None  # it says that there is no GPU
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
