"""The tokeniser: a byte-level BPE trained on the models' own text, one token a digit.

Its pre-tokeniser is Qwen2's, so that every engine that runs Qwen2 runs these models too.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from reasoner.examples import Example, text
from reasoner.training.files import reading

VOCABULARY = 2048
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTROL = (END_OF_TEXT, TURN_START, TURN_END)
THOUGHT = ("<think>", "</think>")
SPECIAL = (*CONTROL, *THOUGHT)
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class Row:
    """An example in tokens: their numbers, and the weight of each in the loss.

    `verdicts`: by place, the number of the token to say there instead of the one that stands there.
    """

    ids: list[int]
    weights: list[float]
    verdicts: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


def train(lines: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A tokeniser whose merges come from `lines`; the same lines give the same tokeniser.

    ValueError if there is too little text for `vocabulary` entries.
    """
    tokenizer = _splitting(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    if tokenizer.get_vocab_size() != vocabulary:
        raise ValueError(f"the text yields {tokenizer.get_vocab_size()} tokens, not {vocabulary}")
    return tokenizer


def of_entries(entries: Sequence[str], merges: Iterable[Sequence[str]]) -> Tokenizer:
    """The tokeniser of these entries, in the order of their numbers, and of these merges, in the order of their ranks.

    ValueError if a special entry is missing.
    """
    if missing := [name for name in SPECIAL if name not in entries]:
        raise ValueError(f"the vocabulary lacks {missing[0]}")
    vocabulary = {name: number for number, name in enumerate(entries)}
    tokenizer = _splitting(models.BPE(vocab=vocabulary, merges=[(left, right) for left, right in merges]))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    return tokenizer


def _splitting(model: Any) -> Tokenizer:
    """A tokeniser that splits texts as Qwen2's does, and spells bytes as it does."""
    tokenizer = Tokenizer(model)
    split = pre_tokenizers.Split(Regex(_QWEN2), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def load(path: Path) -> Tokenizer:
    """The tokeniser in a tokenizer.json; ValueError if there is none, or a broken one."""
    if not path.is_file():
        raise ValueError(f"no tokeniser at {path}: make it with `python -m reasoner.training tokenizer {path}`")
    with reading(path, "the tokenizer.json of a tokeniser"):
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))


def same(one: str, other: str) -> bool:
    """Whether two texts of a tokenizer.json are of the same tokeniser, however they are set out."""
    # Through the library, which has changed how it writes merges, and knows both ways.
    mine, yours = (json.loads(Tokenizer.from_str(text).to_str()) for text in (one, other))
    return bool(mine == yours)


def encode(tokenizer: Tokenizer, examples: Sequence[Example]) -> list[Row]:
    """Each example in tokens, every segment encoded alone so that no token spans two weights.

    ValueError for a verdict that is no token.
    """
    texts = [segment.text for example in examples for segment in example]
    encodings = iter(tokenizer.encode_batch(texts, add_special_tokens=False))
    return [_row(tokenizer, example, encodings) for example in examples]


def _row(tokenizer: Tokenizer, example: Example, encodings: Iterator[Any]) -> Row:
    row = Row([], [])
    for segment in example:
        ids = next(encodings).ids
        if segment.verdict:
            row.verdicts[len(row)] = _number(tokenizer, segment.verdict)
            row.weights.extend([segment.weight, *[0.0] * (len(ids) - 1)])
        else:
            row.weights.extend([segment.weight] * len(ids))
        row.ids.extend(ids)
    return row


def _number(tokenizer: Tokenizer, token: str) -> int:
    number: int | None = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"the verdict {token!r} is no single token")
    return number


def check_segments(tokenizer: Tokenizer, example: Example) -> None:
    """ValueError unless the segments alone give the tokens of the whole: a model writes the whole, not segments."""
    alone = encode(tokenizer, [example])[0].ids
    whole = tokenizer.encode(text(example), add_special_tokens=False).ids
    if alone != whole:
        at = next((i for i, (a, b) in enumerate(zip(alone, whole, strict=False)) if a != b), 0)
        near = tokenizer.decode(whole[max(0, at - 8) : at + 4], skip_special_tokens=False)
        raise ValueError(f"a segment ends inside a token of the whole, near {near!r}")
