"""The command `chiasm`. Nothing here computes; heavy imports happen inside the verbs, so that help comes at once."""
