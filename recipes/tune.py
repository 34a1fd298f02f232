"""One setting on one domain, alone or under a launcher; what was trained is written to `trained.safetensors`.

python -m recipes.tune MODEL --domain surfaces --setting ft-proj --out runs/tuned
accelerate launch --cpu --num_processes 2 -m recipes.tune MODEL --domain surfaces --setting ft-proj --out runs/tuned
accelerate launch --config_file recipes/project/fsdp.yaml -m recipes.tune MODEL --domain plantdoc/ --setting ft-e2e
"""

import argparse
import tempfile
from pathlib import Path

import chiasm
from chiasm.data.domains import domain
from chiasm.studies.project.prepared import PreparedDomain
from chiasm.training.loop import TuningOptions, tune
from chiasm.training.parts import trainable
from chiasm.training.settings import setting_of


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.tune", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--setting", default="ft-e2e")
    parser.add_argument("--out", type=Path, default=Path("runs/tuned"))
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    asked = parser.parse_args(arguments)
    view = chiasm.load(asked.model, device="cpu")
    setting = setting_of(asked.setting)
    with tempfile.TemporaryDirectory(prefix="chiasm-tune-") as scratch:
        prepared = PreparedDomain(view, domain(asked.domain, limit=asked.limit), Path(scratch))
        pixels = "tower" in setting.parts
        rows = prepared.training(asked.seed, plain=setting.plain, square=setting.square, pixels=pixels)
        options = TuningOptions(
            epochs=asked.epochs,
            batch=asked.batch,
            micro_batch=asked.at_once,
            seed=asked.seed,
            bf16=asked.bf16,
            checkpointing=asked.checkpointing,
            from_features=prepared.reused and not pixels,
            save_every=asked.save_every,
            out=asked.out,
            resume=asked.resume,
        )
        result = tune(trainable(view, setting, asked.seed), rows, setting, options)
    print(f"{result.steps} steps in {result.seconds:.0f} s, last loss {result.losses[-1]:.3f}; written to {asked.out}")


if __name__ == "__main__":
    main()
