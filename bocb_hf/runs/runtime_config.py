"""The section ``runtime`` of a run: where and how it executes, which its identity does not hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from bocb_hf.schema import HUB_SCHEME, Frozen


class RuntimeConfig(Frozen):
    """Where and how a run executes. None of this is part of its identity, and none of it is hashed.

    Processes and accumulation cut a batch into micro-batches. That changes the result only for a network with batch
    norm or with a random forward pass (dropout, stochastic depth); the record's environment holds the micro-batch.

    Attributes:
        store: Folder that holds ``models/<namespace>/<repository>``, or ``hf://<namespace>``: then runs are kept in
            ``local_store`` and pushed from there.
        local_store: Folder that runs are kept in when ``store`` is on the Hub; not used when ``store`` is a folder.
        namespace: User or organisation that owns the repositories.
        state_dir: Folder for resume state, outside the store.
        cache_dir: Folder of decoded images, shared by all runs; None is ``bocb_hf`` in the user's cache folder.
        memory_budget_gb: Largest decoded split that is held as one memory-mapped tensor; a larger one is decoded
            while training.
        workers: Processes that decode images while training; None chooses by the cores.
        threads: CPU threads of each process; None leaves torch's choice.
        accumulation: Micro-batches in a step.
        channels_last: Whether the network and its input have the memory format with channels last, which is faster with
            bf16 or on a GPU.
        compile_model: Whether ``torch.compile`` compiles the network.
        compile_optimizer: Whether ``torch.compile`` compiles the optimizer's step.
        cuda_graphs: Whether the kernels of the compiled network are recorded once and replayed as CUDA graphs, which
            saves a small network most of the time between its kernels; on one NVIDIA GPU, with ``compile_model``.
        deterministic: Whether only deterministic kernels are used.
        tf32: Whether a GPU computes fp32 matrix products and convolutions in TensorFloat-32.
        portable: Whether what runs on the CPU is limited to the instructions of AVX2, so that newer processors give the
            same weights as older ones. It takes effect when torch starts, so ``bocb train`` and ``bocb sweep`` see to
            it.
        tracker: Tracker that the curve is also sent to while training (``Accelerator.log``); ``none`` sends nothing,
            ``auto`` is trackio, which keeps it in a local file, where that is installed.
        log_every: Steps between two points of the curve.
        save_every: Steps between two saves of the resume state; None saves after every epoch.
        supersede: Whether to replace a finished run of this seed.
        inspect_at: Shares of training after which a final run keeps the patterns of its weights and their sharpness in
            its record, in (0, 1]; 0.1 is always among them. Nothing is inspected when it is empty. The run itself stays
            the same; the time is recorded apart.
    """

    store: str = "outputs/store"
    local_store: str = "outputs/store"
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,95}$")] = "local"
    state_dir: str = "outputs/state"
    cache_dir: str | None = None
    memory_budget_gb: float = Field(default=8.0, gt=0)
    workers: int | None = Field(default=None, ge=0, le=256)
    threads: int | None = Field(default=None, ge=1)
    accumulation: int = Field(default=1, ge=1)
    channels_last: bool = False
    compile_model: bool = False
    compile_optimizer: bool = False
    cuda_graphs: bool = False
    deterministic: bool = False
    tf32: bool = False
    portable: bool = False
    tracker: Literal["auto", "none", "trackio", "tensorboard", "wandb"] = "auto"
    log_every: int = Field(default=10, ge=1)
    save_every: int | None = Field(default=None, ge=1)
    supersede: bool = False
    inspect_at: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(default=(), max_length=50)

    @model_validator(mode="before")
    @classmethod
    def _namespace_of_the_hub(cls, data: Any) -> Any:
        """``hf://<namespace>`` names the namespace already."""
        if not isinstance(data, dict):
            return data
        given = cast(dict[str, Any], data)
        store = given.get("store")
        if not isinstance(store, str) or not store.startswith(HUB_SCHEME):
            return given
        named = store.removeprefix(HUB_SCHEME)
        if given.get("namespace", named) != named:
            raise ValueError(f"namespace is {given['namespace']}, but store {store} names {named}; leave one out")
        return given | {"namespace": named}

    @field_validator("inspect_at", mode="before")
    @classmethod
    def _array(cls, value: Any) -> Any:
        # a validator before the model makes lists of JSON those of Python, which are no tuples in strict mode
        return tuple(cast(list[Any], value)) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _portable_code(self) -> RuntimeConfig:
        if self.portable and (self.compile_model or self.compile_optimizer):
            raise ValueError(
                "portable: torch.compile makes code for this very processor; leave compile_model and compile_optimizer "
                "off"
            )
        if self.cuda_graphs and not self.compile_model:
            raise ValueError("cuda_graphs: torch.compile records them; set compile_model too")
        if self.inspect_at and self.compile_model:
            raise ValueError(
                "inspect_at: the sharpness needs a second derivative, which torch.compile cannot take; leave "
                "compile_model off"
            )
        return self
