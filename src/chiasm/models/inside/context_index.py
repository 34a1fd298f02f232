"""Words in context from an index of LatentLens: states of a text corpus, read once and kept in a folder.

Legend: n states of width D, k nearest words, R rows of a layer of the index, W words.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiasm.core.digests import digest_of_file, digest_of_value
from chiasm.core.errors import ChiasmError
from chiasm.core.text import reason_of
from chiasm.models.inside.lenses import Lens, Nearest, unit_length
from chiasm.models.view import ModelView
from chiasm.models.words import text_of

_FILE: Final = "embeddings_cache.pt"
_LAYER: Final = re.compile(r"layer_(0|[1-9]\d{0,3})")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_ROWS: Final = 1 << 15
"""Rows of the index that are compared at once."""
_TODO: Final = "Give a folder that `ContextualIndex.save` of LatentLens wrote for this very model"


class _Layer(NamedTuple):
    """Rows of one hidden state: where they lie among all that the file holds, and the number of each one's word."""

    states: Float[Tensor, "R D"]
    rows: Int[Tensor, " K"]
    words: Int[Tensor, " K"]


@final
class IndexLens(Lens):
    """The words whose states in an index of LatentLens have the largest cosine, over all layers of the index.

    A row counts where its token is written as a word that stands in its text (a piece that is spelled like another
    whole word of the text counts as well); of a word that is near at several places the nearest counts. Files are read
    as tensors and texts alone (no code of theirs runs), and stay on the disk until a row is asked for. Nothing is asked
    of the model but its width, depth and tokenizer, so that one lens serves all models that share these.

    **Errors:** `ChiasmError` where the folder holds no index, or one of another width, depth or tokenizer.

    Source: LatentLens (arXiv 2602.00462), version 0.1.0: `layer_N/embeddings_cache.pt` holds states of length 1 after
    block N and a record for each. Assumption: the index was made by the language model that is read here; that cannot
    be seen from its files beyond width, depth and tokens. States of the last block are left out: they stand behind the
    final norm there, and before it here.
    """

    name: ClassVar[str] = "context"

    def __init__(self, view: ModelView, folder: Path) -> None:
        self._asked = f"read words in context from {folder}"
        self.tokens: dict[str, int] = {}
        found = {number: file for number, file in _files(folder).items() if number < view.n_layers}
        if not found:
            deepest = f"of none of its {view.n_layers} layers before the last" if _files(folder) else "of no layer"
            raise ChiasmError(self._asked, f"it holds states {deepest} (layer_N/{_FILE})", _TODO)
        self._numbers: dict[str, int] = {}
        self._layers = [self._read(view, file) for file in found.values()]
        self.layers = tuple(found)
        self.words = list(self._numbers)
        if not self.words:
            raise ChiasmError(self._asked, "no token of it is a whole word of its text", _TODO)

    def _read(self, view: ModelView, file: Path) -> _Layer:
        try:
            content = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else reason_of(error)
            found = f"{file.parent.name}/{_FILE} cannot be read as tensors and texts alone ({reason})"
            raise ChiasmError(self._asked, found, _TODO) from error
        states = content.get("embeddings") if isinstance(content, dict) else None
        records = content.get("metadata") if isinstance(content, dict) else None
        where = file.parent.name
        if not isinstance(states, Tensor) or states.ndim != 2 or not states.is_floating_point() or not _plain(states):
            raise ChiasmError(self._asked, f"{where} has no table of states under `embeddings`", _TODO)
        if states.shape[1] != view.width:
            found = f"its states are {states.shape[1]} wide, and those of `{view.name}` {view.width}"
            raise ChiasmError(self._asked, found, _TODO)
        if not isinstance(records, list) or len(records) != len(states):
            raise ChiasmError(self._asked, f"{where} has not one record for each of its {len(states)} states", _TODO)
        if not all(states[start : start + _ROWS].float().isfinite().all() for start in range(0, len(states), _ROWS)):
            raise ChiasmError(self._asked, f"{where} holds states that are NaN or infinite", _TODO)
        self._compare_tokens(view, records)
        rows, words = [], []
        for row, record in enumerate(records):
            word = _whole_word(record)
            if word is not None:
                rows.append(row)
                words.append(self._numbers.setdefault(word, len(self._numbers)))
                self.tokens.setdefault(word, int(record["token_id"]))
        return _Layer(states, torch.tensor(rows, dtype=torch.long), torch.tensor(words, dtype=torch.long))

    def _compare_tokens(self, view: ModelView, records: list[Any]) -> None:
        """Refuse an index with any token that is not the tokenizer's."""
        rows = int(view.embeddings.weight.shape[0])  # pyright: ignore[reportArgumentType, reportCallIssue, reportIndexIssue, reportOptionalSubscript, reportAttributeAccessIssue]
        known: dict[int, str] = {}
        for record in records:
            number = record.get("token_id") if isinstance(record, Mapping) else None
            if type(number) is not int:
                raise ChiasmError(self._asked, "a record of it names no token", _TODO)
            if not 0 <= number < rows:
                found = f"it has a token {number}, and `{view.name}` has {rows}"
                raise ChiasmError(self._asked, found, _TODO)
            if number not in known:
                known[number] = text_of(view.tokenizer, [number]).strip()
            if known[number] != str(record.get("token_str", "")).strip():
                found = f"its token {number} is {str(record.get('token_str'))[:40]!r}, "
                found += f"and that of `{view.name}` {known[number][:40]!r}"
                raise ChiasmError(self._asked, found, _TODO)

    @torch.no_grad()
    def nearest(self, states: Float[Tensor, "n D"], k: int) -> Nearest:
        unit = unit_length(states).cpu()
        best = torch.full((len(unit), len(self.words)), -torch.inf, dtype=unit.dtype)
        for layer in self._layers:
            for start in range(0, len(layer.rows), _ROWS):
                some = slice(start, start + _ROWS)
                cosines = unit @ unit_length(layer.states[layer.rows[some]]).to(unit).T
                words = layer.words[some].expand(len(unit), -1)
                best.scatter_reduce_(1, words, cosines, "amax")
        found = best.topk(min(k, len(self.words)), dim=-1)
        return Nearest(found.indices, found.values)

    def word(self, number: int) -> str:
        return self.words[number]

    def token(self, number: int) -> int:
        return self.tokens[self.words[number]]

    def numbers(self, word: str) -> frozenset[int]:
        number = self._numbers.get(word.lower())
        return frozenset() if number is None else frozenset((number,))


def index_digest(folder: Path) -> str:
    """What the index holds, as a run keeps it: a resumed run must read the same."""
    return digest_of_value({str(number): digest_of_file(file) for number, file in _files(folder).items()})


def _files(folder: Path) -> dict[int, Path]:
    """The files of an index by the number of their layer, in order."""
    found = {}
    for file in folder.glob(f"layer_*/{_FILE}"):
        match = _LAYER.fullmatch(file.parent.name)
        if match and file.is_file():
            found[int(match[1])] = file
    return dict(sorted(found.items()))


def _plain(states: Tensor) -> bool:
    """Whether they can be read row by row: neither sparse nor without values."""
    return states.layout == torch.strided and states.device.type == "cpu"


def _whole_word(record: Mapping[str, Any]) -> str | None:
    """The word that a record's token is, in lower case; None for a piece of a word, a mark or a number."""
    word = str(record.get("token_str", "")).strip().lower()
    text = str(record.get("caption") or "").lower()
    if not _WORD.fullmatch(word):
        return None
    return word if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) else None
