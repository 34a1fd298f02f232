"""`chiasm completion`."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the script by which your shell completes verbs, options and their values.

        chiasm completion bash

    Parameters
    ----------
    shell
        Which shell it is for. What is printed goes into a file: for bash
        `~/.local/share/bash-completion/completions/chiasm`, for zsh `_chiasm` in a directory of `$fpath`, for fish
        `~/.config/fish/completions/chiasm.fish`.
    """
    from chiasm.cli.application import application

    print(application(every=True).generate_completion(shell=shell))
