"""Prepares a run: resolves and loads everything before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from bocb_hf.backbones.build import BackboneSource, resolve_backbone
from bocb_hf.data.sampling import init_seed
from bocb_hf.data.source import Order, TrainSource
from bocb_hf.engine.divergence import DivergenceRule, class_frequencies, make_rule, rule_of_task
from bocb_hf.errors import InputError
from bocb_hf.optim.build import build_optimizer
from bocb_hf.optim.param_groups import freeze_backbone, split_parameters, train_mode
from bocb_hf.optim.resolve import ResolvedOptimizer, refuse_options, resolve_optimizer
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.identity import RANDOM_SCHEME, Identity, OptimizerIdentity
from bocb_hf.runs.naming import make_run_id, repository_name
from bocb_hf.runs.preprocessing import Preprocessing
from bocb_hf.runs.tasks import CLASSIFICATION, TASKS, TaskIdentity
from bocb_hf.tasks.task import Task, TaskData, open_task


@dataclass(frozen=True)
class PreparedRun:
    """A run with everything resolved and loaded, before anything is built or trained."""

    config: RunConfig
    identity: Identity
    source: BackboneSource
    data: TaskData
    optimizer: ResolvedOptimizer
    task: Task
    halvings: int = 0  # of the micro-batch, because memory ran out: see ``out_of_memory``

    @property
    def run_id(self) -> str:
        """Configuration hash and seed."""
        return make_run_id(self.identity.config_hash(), self.config.seed)

    @property
    def repository(self) -> str:
        """``namespace/name`` of the cell, unless another cell has that name: see ``store.write.find_place``."""
        return f"{self.config.runtime.namespace}/{repository_name(*self.identity.cell().names)}"

    @property
    def state_dir(self) -> Path:
        """Folder of the resume state; a trial and a final run of one id, or two checkpoints, do not share it."""
        name, backbone = f"{self.run_id}-{self.config.role}", self.identity.backbone
        if backbone.pretraining is not None:
            name += f"-{str(backbone.pretrained_sha256)[:12]}"
        return Path(self.config.runtime.state_dir) / self.config.runtime.namespace / name

    def build_model(self) -> nn.Module:
        """Builds the network with initial weights that depend on (seed, backbone) only."""
        data = self.identity.data
        seed = init_seed(self.config.seed, self.identity.backbone.name)
        model = self.task.build(self.source, data, seed)
        if self.identity.training.linear_probe:
            freeze_backbone(model)
            train_mode(model)
        return model

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """Builds the optimizer over the model's parameter groups."""
        training = self.identity.training
        return build_optimizer(self.optimizer, split_parameters(model, training.no_decay, training.layer_decay))

    def divergence_rule(self) -> DivergenceRule:
        """Makes the rule that says when a run of this identity and role has diverged."""
        identity = self.identity
        if identity.task.name != CLASSIFICATION:
            return rule_of_task(self.task.reference_loss(self.data), self.config.role)
        frequencies = class_frequencies(self.data.train, identity.data.num_classes)
        steps = len(self.data.train) // identity.training.batch_size
        return make_rule(identity, self.config.role, frequencies, self.config.seed, steps)

    def train_source(self, accelerator: Accelerator) -> TrainSource:
        """Opens the training images of this process."""
        order = Order(
            len(self.data.train),
            self.identity.training.batch_size,
            self.config.seed,
            self.identity.augmentation.repeats,
            accelerator.process_index,
            accelerator.num_processes,
            self.config.runtime.accumulation,
        )
        pin = accelerator.device.type == "cuda"
        return self.task.open_source(self.data.train, order, self.config.runtime, pin)


def choose_preprocessing(config: RunConfig, source: BackboneSource) -> Preprocessing | None:
    """Preprocessing (mean, standard deviation, interpolation) of the starting weights; None where the data's is used.

    Raises:
        InputError: The preprocessing of a checkpoint is asked for, and there is no checkpoint or it does not say.
    """
    asked = config.data.normalization
    if asked == "checkpoint" and source.folder is None:
        raise InputError(
            "data.normalization: there is no checkpoint, since backbone.pretrained names none; leave the key out"
        )
    return None if asked == "data" else source.preprocessing


def prepare_run(config: RunConfig) -> PreparedRun:
    """Resolves names and defaults and loads the data.

    Raises:
        InputError: Something in the configuration, the data or the starting weights is wrong.
    """
    source = resolve_backbone(config.backbone, config.training.drop_path, config.data.image_size)
    checkpoint = choose_preprocessing(config, source)
    task = open_task(config.task.name, config.task.options)
    data = task.load(config, checkpoint)
    given = config.optimizer
    training = config.training
    optimizer = resolve_optimizer(
        given.name,
        config.setting,
        given.lr,
        given.weight_decay,
        given.hyperparameters,
        data=config.data.name,
        batch_size=training.batch_size,
        grid=given.grid,
        total_steps=len(data.train) // training.batch_size * training.epochs or None,
    )
    options = {"training.layer_decay": training.layer_decay, "training.precision": training.precision}
    options |= {"training.clip_grad_norm": training.clip_grad_norm, "training.ema_decay": training.ema_decay}
    options |= {"training.schedule": training.schedule}
    refuse_options(optimizer.row, options)
    identity = Identity(
        random_scheme=RANDOM_SCHEME,
        setting=config.setting,
        backbone=source.identity,
        optimizer=OptimizerIdentity(
            name=optimizer.row.id,
            lr=optimizer.lr,
            weight_decay=optimizer.weight_decay,
            hyperparameters=optimizer.hyperparameters,
        ),
        training=config.training.resolved(),
        augmentation=config.augmentation,
        data=data.identity,
        task=TaskIdentity(name=config.task.name, options=TASKS.get(config.task.name).resolve(config.task.options)),
    )
    if config.task.name != CLASSIFICATION and "hessian" in optimizer.row.needs:
        raise InputError(
            f"optimizer.name: {optimizer.row.id} samples labels from the logits of a classifier, and the outputs of "
            f"the task {config.task.name!r} are none; take another optimizer"
        )
    return PreparedRun(config, identity, source, data, optimizer, task)
