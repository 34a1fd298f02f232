"""An architecture that is not listed, by rules that hold for many: which of them hold for it is found by trial."""
