"""A cross-encoder that is small enough to be made by a test: it counts the words that a pair shares."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

WORDS = ("the", "mill", "clock", "boat", "rent", "is", "due", "a", "who", "repaired")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def write_cross_encoder(folder: Path, *, outputs: int = 1, extra_input: str | None = None) -> Path:
    """``model.onnx`` and ``tokenizer.json``: the score is how many words of the vocabulary question and text share.

    Args:
        folder: Where to.
        outputs: Scores of a pair; of two the second is the one that counts.
        extra_input: The name of an input that no cross-encoder has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    # A row for each token: one-hot for words, nothing for what is special or unknown.
    table = np.eye(len(vocabulary), dtype=np.float32)
    table[: len(_SPECIAL)] = 0
    columns = np.zeros((1, outputs), dtype=np.float32)
    columns[0, -1] = 1.0
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["token_type_ids"], ["second"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["there"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["second", "there"], ["of_text"]),
        helper.make_node("Sub", ["there", "of_text"], ["of_question"]),
        helper.make_node("Unsqueeze", ["of_text", "last"], ["text_column"]),
        helper.make_node("Unsqueeze", ["of_question", "last"], ["question_column"]),
        helper.make_node("Mul", ["words", "text_column"], ["text_words"]),
        helper.make_node("Mul", ["words", "question_column"], ["question_words"]),
        helper.make_node("ReduceMax", ["text_words", "places"], ["text_bag"], keepdims=0),
        helper.make_node("ReduceMax", ["question_words", "places"], ["question_bag"], keepdims=0),
        helper.make_node("Mul", ["text_bag", "question_bag"], ["shared"]),
        helper.make_node("ReduceSum", ["shared", "places"], ["count"], keepdims=1),
        helper.make_node("MatMul", ["count", "columns"], ["logits"]),
    ]
    names = ["input_ids", "attention_mask", "token_type_ids"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["pairs", "tokens"])
        for name in [*names, *([extra_input] if extra_input else [])]
    ]
    graph = helper.make_graph(
        nodes,
        "shared_words",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["pairs", outputs])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(columns, "columns"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "places"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "model.onnx"))
    return folder
