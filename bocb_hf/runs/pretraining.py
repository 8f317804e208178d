"""What a fine-tuned run remembers of the run that made its starting weights, where this project made them."""

from __future__ import annotations

from pydantic import Field

from bocb_hf.schema import ConfigHash, DataRevision, Frozen, Name, Seed, Sha256, Slug


class Pretraining(Frozen):
    """The pre-training run, as its own record says.

    Two runs whose pre-training has one configuration hash are of one cell and one configuration, whatever the seed of
    the pre-training: that seed is a random factor, nested in the configuration of the pre-training.

    Attributes:
        dataset: The data that it was trained on.
        data_revision: DataRevision of these data.
        setting: Its setting.
        optimizer: Its optimizer.
        epochs: Passes over its training images.
        seed: Its seed.
        config_hash: Hash of its configuration.
        record_sha256: SHA-256 of its record. That of its weights is ``BackboneIdentity.pretrained_sha256``.
    """

    dataset: Name
    data_revision: DataRevision
    setting: Slug
    optimizer: Slug
    epochs: int = Field(ge=1, le=10_000)
    seed: Seed
    config_hash: ConfigHash
    record_sha256: Sha256

    def __str__(self) -> str:
        """Says in words what made the weights, for messages and cards."""
        epochs = f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        return (
            f"{self.optimizer} on {self.dataset}, setting {self.setting}, {epochs}, seed {self.seed}, configuration "
            f"{self.config_hash}"
        )
