"""Generate a synthetic population and store it as a dataset's upload."""

from controlcenter.modelling.datasets import services
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.platform.artifacts.store import store
from ml.data.population import SynthesisConfig
from ml.data.synthesis import write_dataset
from workers.runtime.execution import Execution
from workers.runtime.retries import STORE_PATIENCE


def work(execution: Execution) -> None:
    """Synthesis of the dataset that the run's subject names."""
    dataset = Dataset.objects.get(pk=execution.claim.subject)
    path = execution.folder / "synthetic.zip"
    write_dataset(SynthesisConfig(**(dataset.synthesis or {})), path, execution.progress)
    # A key of this claim's own: an attempt that lost its lease can't overwrite the winner's file.
    key = f"datasets/{dataset.workspace_id}/{dataset.pk}/raw-e{execution.claim.epoch}.zip"
    stored = store(patience=STORE_PATIENCE).put_path(key, path)
    execution.commit(lambda commit: services.commit_synthesis(commit, stored=stored))
