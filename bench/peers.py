"""The other ways to run the model, each at its best: transformers, ONNX Runtime, OpenVINO.

A peer sees the whole mix at once and may sort it, which a stream could not: what it gains by that
is given to it. The batching of the last two is chosen by trial, on texts of the mix; OpenVINO's
int8 model is calibrated on them, too.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from contestants import (
    ONE_BY_ONE,
    Batched,
    Batching,
    Contestant,
    Ids,
    Logits,
    Padded,
    SkippedError,
    fastest,
    onnx_forward,
    padded,
)
from torch import Tensor, nn
from transformers import AlbertForSequenceClassification, AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from stream_app.model.albert import AlbertShape, read_shape
from stream_app.model.artifact import Artifact

CALIBRATION_TEXTS = 128
DYNAMIC_GROUP = 128  # activations that share a scale


def cpu_peers(artifact: Artifact, ids: Ids, threads: int) -> Iterator[Contestant]:
    """What else a CPU can run the model with."""
    yield Contestant("torch.compile", "bfloat16", partial(inductor, artifact))
    for precision in ("float32", "int8"):
        build = partial(onnx_runtime, artifact, precision, ids, threads)
        yield Contestant("ONNX Runtime", precision, build)
    for precision in ("float32", "bfloat16", "int8", "int8 dynamic"):
        yield Contestant(
            "OpenVINO", precision, partial(openvino, artifact, precision, ids, threads)
        )


def torch_peers(artifact: Artifact, device: str) -> Iterator[Contestant]:
    """transformers' own model; the first is what ratios and agreement are to."""
    cuts = [("float32", Batching("arrival", 32)), ("bfloat16", Batching("sorted", 32))]
    if device == "cpu":
        cuts = [("float32", ONE_BY_ONE), ("bfloat16", ONE_BY_ONE), *cuts]
    else:  # a GPU needs larger batches
        cuts += [("float16", Batching("sorted", size)) for size in (32, 128)]
    for precision, cut in cuts:
        yield Contestant(
            "transformers", precision, partial(transformers, artifact, precision, cut, device)
        )


def transformers(artifact: Artifact, precision: str, cut: Batching, device: str) -> Batched:
    """The model as it is."""
    return Batched(partial(_torch_forward, load(artifact, precision).to(device), device), cut)


def inductor(artifact: Artifact) -> Batched:
    """torch.compile with frozen weights and one set of kernels for all lengths."""
    if not (shutil.which("g++") or shutil.which("clang++")):
        raise SkippedError("needs a C++ compiler")
    model = load(artifact, "bfloat16")
    compiled = torch.compile(model, dynamic=True, options={"freezing": True})
    return Batched(
        partial(_torch_forward, compiled, "cpu", mask_always=True), Batching("sorted", 32)
    )


@torch.no_grad()  # freezing asks for this one; inference mode is not enough
def _torch_forward(
    model: Callable[..., Any], device: str, batches: Iterable[Padded], mask_always: bool = False
) -> list[Logits]:
    parts: list[Tensor] = []
    for ids, mask in batches:
        on_device = torch.from_numpy(mask).to(device) if mask_always or not mask.all() else None
        ids_on_device = torch.from_numpy(ids).to(device)
        parts.append(model(input_ids=ids_on_device, attention_mask=on_device).logits)
    return [part.float().cpu().numpy() for part in parts]


def load(artifact: Artifact, precision: str, attention: str = "sdpa") -> nn.Module:
    """transformers' model of the artifact."""
    model: nn.Module = AlbertForSequenceClassification.from_pretrained(
        artifact.path, dtype=getattr(torch, precision), attn_implementation=attention
    )
    return model.eval()


class _LogitsOnly(nn.Module):
    """What the exporters can trace: two tensors in, one out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[texts, length] twice -> [texts, labels]."""
        out: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return out


def _example() -> tuple[Tensor, Tensor]:
    """Two texts, the second padded: neither exporter may take the mask for a constant."""
    ids, mask = padded([range(1000, 1009), range(1000, 1005)])
    return torch.from_numpy(ids), torch.from_numpy(mask)


def onnx_runtime(artifact: Artifact, precision: str, ids: Ids, threads: int) -> Batched:
    """ONNX Runtime: its own fused attention, skip-norm and GELU; int8 with dynamic activations."""
    with tempfile.TemporaryDirectory() as folder:
        forward = onnx_forward(onnx_file(artifact, precision, Path(folder)), threads)
    cuts = (ONE_BY_ONE, Batching("sorted", 16), Batching("exact", 16))
    return fastest((Batched(forward, cut, "fused attention") for cut in cuts), ids)


def onnx_file(artifact: Artifact, precision: str, folder: Path) -> Path:
    """The model as ONNX Runtime runs it best, in `folder`."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    AttentionInterface.register("onnx_fused", _onnx_attention)
    AttentionMaskInterface.register("onnx_fused", eager_mask)
    dynamic = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    plain, fused, rounded = (str(folder / name) for name in ("plain", "fused", "rounded"))
    torch.onnx.export(
        _LogitsOnly(load(artifact, "float32", "onnx_fused")),
        _example(),
        plain,
        dynamo=True,
        opset_version=20,
        dynamic_shapes=(dynamic, dynamic),
        external_data=False,
        verbose=False,
    )
    shape: AlbertShape = read_shape(artifact)
    optimized = optimize_model(plain, "bert", shape.heads, shape.hidden, opt_level=1)
    del optimized.model.graph.value_info[:]  # names shapes from before the fusions
    optimized.save_model_to_file(fused)
    if precision == "float32":
        return Path(fused)
    quantize_dynamic(
        fused,
        rounded,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    return Path(rounded)


def _onnx_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **_: object
) -> tuple[Tensor, None]:
    """ONNX Runtime's fused kernel; its optimizer does not find the pattern in an ALBERT."""
    texts, heads, length, size = query.shape
    rows = [x.transpose(1, 2).reshape(texts, length, heads * size) for x in (query, key, value)]
    out = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        (*rows, None, None, mask),
        {"num_heads": heads},
        dtype=query.dtype,
        shape=rows[0].shape,
        version=1,
    )
    return out.reshape(texts, length, heads, size), None


def openvino(artifact: Artifact, precision: str, ids: Ids, threads: int) -> Batched:
    """OpenVINO on dynamic shapes, each met before; static ones gain what their padding costs."""
    import openvino as ov

    core = ov.Core()
    model = ov.convert_model(
        _LogitsOnly(load(artifact, "float32")),
        example_input=_example(),
        input=[ov.PartialShape([-1, -1])] * 2,
    )
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    if precision != "float32" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        settings["INFERENCE_PRECISION_HINT"] = "bf16"  # what it takes of itself, too
    elif precision == "bfloat16":
        raise SkippedError("this CPU has no bfloat16")
    if precision == "int8":
        model = _calibrated(model, ids)
    elif precision == "int8 dynamic":
        model = _compressed(model)
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = DYNAMIC_GROUP
    queues = {
        hint: ov.AsyncInferQueue(
            core.compile_model(model, "CPU", settings | {"PERFORMANCE_HINT": hint})
        )
        for hint in ("THROUGHPUT", "LATENCY")
    }
    cuts = (ONE_BY_ONE, Batching("sorted", 8), Batching("sorted", 32), Batching("exact", 32))
    best = fastest(
        (
            Batched(partial(_openvino_forward, queue), cut, hint)
            for (hint, queue), cut in product(queues.items(), cuts)
        ),
        ids,
    )
    best.logits(ids)  # each of its streams should have met each shape
    return best


def _calibrated(model: Any, ids: Ids) -> Any:
    import nncf

    nncf.set_log_level(logging.ERROR)
    texts = nncf.Dataset([[text] for text in ids[:CALIBRATION_TEXTS]], padded)
    transformer = nncf.ModelType.TRANSFORMER
    return nncf.quantize(model, texts, model_type=transformer, subset_size=CALIBRATION_TEXTS)


def _compressed(model: Any) -> Any:
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)


def _openvino_forward(queue: Any, batches: Iterable[Padded]) -> list[Logits]:
    outputs: dict[int, Logits] = {}

    def keep(request: Any, number: int) -> None:
        outputs[number] = request.get_output_tensor().data.copy()

    queue.set_callback(keep)
    for number, (ids, mask) in enumerate(batches):
        queue.start_async({0: ids, 1: mask}, number)
    queue.wait_all()
    return [outputs[number] for number in range(len(outputs))]
