"""all-MiniLM-L6-v2 as an ONNX graph, from its published tensors.

The network is BERT (Devlin et al., 2018) with 6 layers of 12 heads over 384 dimensions, followed by the mean over the
text's tokens and the L2 norm (Reimers and Gurevych, 2019). Both are part of the graph, so that its output is ready to
store. In the shapes below, B is the number of texts, S their padded length in tokens, H the 384 dimensions, A the 12
heads and D the 32 dimensions of each.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

Tensors = Mapping[str, npt.NDArray[np.float32]]

_LAYERS: Final = 6
_HEADS: Final = 12
_HEAD_SIZE: Final = 32
_HIDDEN: Final = _HEADS * _HEAD_SIZE
_LAYER_NORM_EPSILON: Final = 1e-12
_MASKED: Final = -1e9
"""Added to the attention score of padding: its softmax underflows to exactly zero."""

_OPSET: Final = 20
"""The first with Gelu as one operator."""
_IR_VERSION: Final = 9


class GraphBuilder:
    """Collects nodes and constants; every method returns the name of the value it adds.

    Args:
        tensors: The weights by their published names.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def node(
        self,
        operator: str,
        *inputs: str,
        output: str | None = None,
        **attributes: Any,  # noqa: ANN401 - onnx checks them against the operator
    ) -> str:
        """Add one operator with one output."""
        name = output or f"{operator}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(operator, list(inputs), [name], name=name, **attributes)
        )
        return name

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Add a constant, once by its name."""
        if name not in self._constants:
            array = np.array(value, dtype=dtype, order="C", copy=True)
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def integers(self, *values: int) -> str:
        """A vector of integers, as shapes and axes are given."""
        return self.constant("integers_" + "_".join(map(str, values)), values, np.int64)

    def scalar(self, value: float) -> str:
        """One number."""
        return self.constant(f"scalar_{value!r}", value, np.float32)

    def weight(self, name: str) -> npt.NDArray[np.float32]:
        """A published tensor."""
        return self._tensors[name]

    def linear(self, values: str, layer: str) -> str:
        """A dense layer: ``values @ weight.T + bias``."""
        weight = self.constant(f"{layer}.weight", self.weight(f"{layer}.weight").T, np.float32)
        bias = self.constant(f"{layer}.bias", self.weight(f"{layer}.bias"), np.float32)
        return self.node("Add", self.node("MatMul", values, weight), bias)

    def layer_norm(self, values: str, layer: str) -> str:
        """Layer normalisation over the last axis."""
        scale = self.constant(f"{layer}.weight", self.weight(f"{layer}.weight"), np.float32)
        shift = self.constant(f"{layer}.bias", self.weight(f"{layer}.bias"), np.float32)
        return self.node(
            "LayerNormalization", values, scale, shift, axis=-1, epsilon=_LAYER_NORM_EPSILON
        )

    def model(self, output: str) -> ModelProto:
        """The finished and checked model, from two (B, S) inputs to ``output`` (B, H)."""
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
            for name in ("input_ids", "attention_mask")
        ]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["texts", _HIDDEN])]
        graph = helper.make_graph(
            self._nodes, "minilm", inputs, outputs, list(self._constants.values())
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
        )
        # onnx leaves a type argument of PathLike open.
        checker.check_model(model)  # pyright: ignore[reportUnknownMemberType]
        return model


def build_minilm(tensors: Tensors) -> ModelProto:
    """The whole network in 32-bit floating point.

    Args:
        tensors: The weights by their published names.

    Raises:
        KeyError: A tensor is missing: these are not the weights of all-MiniLM-L6-v2.
    """
    builder = GraphBuilder(tensors)
    mask = builder.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    attention_bias = _attention_bias(builder, mask)
    states = _embeddings(builder)
    for layer in range(_LAYERS):
        states = _encoder_layer(builder, states, attention_bias, f"encoder.layer.{layer}")
    return builder.model(_unit_mean(builder, states, mask))


def _embeddings(builder: GraphBuilder) -> str:
    """Token, position and (always the first) segment embeddings, (B, S, H)."""
    vocabulary = builder.constant(
        "word_embeddings", builder.weight("embeddings.word_embeddings.weight"), np.float32
    )
    positions = builder.constant(
        "position_embeddings",
        builder.weight("embeddings.position_embeddings.weight")
        + builder.weight("embeddings.token_type_embeddings.weight")[0],
        np.float32,
    )
    length = builder.node("Shape", "input_ids", start=1, end=2)
    first_positions = builder.node(
        "Slice", positions, builder.integers(0), length, builder.integers(0)
    )
    words = builder.node("Gather", vocabulary, "input_ids")
    return builder.layer_norm(builder.node("Add", words, first_positions), "embeddings.LayerNorm")


def _attention_bias(builder: GraphBuilder, mask: str) -> str:
    """Zero where a token is, very negative where padding is, (B, 1, 1, S)."""
    absent = builder.node("Sub", builder.scalar(1.0), mask)
    broad = builder.node("Unsqueeze", absent, builder.integers(1, 2))
    return builder.node("Mul", broad, builder.scalar(_MASKED))


def _encoder_layer(builder: GraphBuilder, states: str, attention_bias: str, layer: str) -> str:
    """Self-attention, then two dense layers, each added to its input and normalised, (B, S, H)."""
    context = _attention(builder, states, attention_bias, f"{layer}.attention.self")
    attended = builder.linear(context, f"{layer}.attention.output.dense")
    states = builder.layer_norm(
        builder.node("Add", attended, states), f"{layer}.attention.output.LayerNorm"
    )
    widened = builder.node("Gelu", builder.linear(states, f"{layer}.intermediate.dense"))
    narrowed = builder.linear(widened, f"{layer}.output.dense")
    return builder.layer_norm(builder.node("Add", narrowed, states), f"{layer}.output.LayerNorm")


def _attention(builder: GraphBuilder, states: str, attention_bias: str, layer: str) -> str:
    """Scaled dot-product attention over all heads, (B, S, H)."""

    def heads(projection: str, permutation: list[int]) -> str:
        values = builder.linear(states, f"{layer}.{projection}")
        split = builder.node("Reshape", values, builder.integers(0, 0, _HEADS, _HEAD_SIZE))
        return builder.node("Transpose", split, perm=permutation)

    query = heads("query", [0, 2, 1, 3])  # (B, A, S, D)
    key = heads("key", [0, 2, 3, 1])  # (B, A, D, S)
    value = heads("value", [0, 2, 1, 3])  # (B, A, S, D)
    scores = builder.node(
        "Mul", builder.node("MatMul", query, key), builder.scalar(_HEAD_SIZE**-0.5)
    )
    weights = builder.node("Softmax", builder.node("Add", scores, attention_bias), axis=-1)
    context = builder.node("Transpose", builder.node("MatMul", weights, value), perm=[0, 2, 1, 3])
    return builder.node("Reshape", context, builder.integers(0, 0, _HIDDEN))


def _unit_mean(builder: GraphBuilder, states: str, mask: str) -> str:
    """The mean over the tokens that are no padding, scaled to length one, (B, H)."""
    tokens = builder.node("Unsqueeze", mask, builder.integers(2))
    axis = builder.integers(1)
    total = builder.node("ReduceSum", builder.node("Mul", states, tokens), axis, keepdims=0)
    count = builder.node("ReduceSum", tokens, axis, keepdims=0)
    mean = builder.node("Div", total, count)
    return builder.node("LpNormalization", mean, output="embedding", axis=1, p=2)
