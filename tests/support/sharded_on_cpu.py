"""`recipes.tune` under accelerate's FSDP where there is no accelerator.

accelerate 1.15 turns FSDP on for processes on accelerators alone; torch's `fully_shard` itself also runs over gloo. So
the one thing put aside here is that question: everything behind it is accelerate's and torch's own.
"""

import os
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from recipes.tune import main
from torch.distributed.tensor import DTensor

import chiasm.training.loop as loop

_plain = AcceleratorState.__init__
_step = loop._Trainer.training_step


def _sharding(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
    _plain(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU and fsdp_plugin is not None:
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin


def _counting(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
    if self.state.global_step == 0:
        kept = sum(p.to_local().numel() for p in model.parameters() if isinstance(p, DTensor))
        print(f"holds {kept / sum(p.numel() for p in model.parameters()):.2f} of the parameters")
    return _step(self, model, *args, **kwargs)


if __name__ == "__main__":
    assert os.environ["ACCELERATE_USE_FSDP"] == "true", "start this with recipes/project/fsdp.yaml"
    AcceleratorState.__init__ = _sharding
    loop._Trainer.training_step = _counting
    main()
