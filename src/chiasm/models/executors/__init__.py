"""How variants are computed. `LockstepExecutor` is the product, `ReferenceExecutor` the yardstick."""
