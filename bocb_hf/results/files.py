"""The small files of a results data set: what maintainers have merged, kept on disk by content."""

from __future__ import annotations

import json
import re

from huggingface_hub import RepoFile
from huggingface_hub.errors import RepositoryNotFoundError

from bocb_hf.errors import InputError
from bocb_hf.results.dataset import dataset_name
from bocb_hf.store import hub_calls
from bocb_hf.store.file_cache import FileCache
from bocb_hf.store.hub import download
from bocb_hf.store.hub_calls import explained, make_api, with_back_off

_KEPT = re.compile(r"(submissions|verifications)/.+")
_LARGEST = 100_000  # bytes of the largest submission; verifications are smaller


class ResultsFiles(FileCache):
    """The submissions and verifications at the head that was last seen; none while there is no data set.

    Args:
        uri: ``hf://datasets/<namespace>/<name>``.
        offline: Whether to send no request and use what was read before.

    Raises:
        HubError: The Hub refused.
        InputError: Nothing was read before that ``offline`` could use.
    """

    def __init__(self, uri: str, offline: bool = False) -> None:
        self._name = dataset_name(uri)
        super().__init__(f"datasets/{self._name}")
        try:
            if not offline:
                self._refresh(uri)
            listed = self.fact("files")
            if listed is None:
                raise InputError(f"--offline: nothing of {uri} was read before; run it once without")
        except BaseException:
            self.close()
            raise
        self._blobs: dict[str, str] = dict(json.loads(listed))

    def _refresh(self, uri: str) -> None:
        """Reads the files that are new since the last time."""
        api, name = make_api(), self._name
        with explained(uri):
            try:
                head = str(with_back_off(lambda: api.dataset_info(name, expand=["sha"], timeout=hub_calls.TIMEOUT)).sha)
            except RepositoryNotFoundError:
                self.set_facts(head="", files="[]")
                return
            if head == self.fact("head") and self.fact("files") is not None:
                return
            tree = list(api.list_repo_tree(name, repo_type="dataset", recursive=True, revision=head))
        files = [file for file in tree if isinstance(file, RepoFile) and _KEPT.fullmatch(file.path)]
        for file in files:
            key = f"{file.path} {file.blob_id}"
            if file.size <= _LARGEST and not self.holds(key):
                self.put({key: download(name, file.path, head, kind="dataset", limit=_LARGEST)})
        self.set_facts(head=head, files=json.dumps([(file.path, file.blob_id) for file in files]))

    def paths(self) -> list[str]:
        """Paths of all files, sorted."""
        return sorted(self._blobs)

    def read(self, path: str, limit: int) -> bytes:
        """Content of one file; raises InputError when it is longer than ``limit`` bytes."""
        content = self.get(f"{path} {self._blobs[path]}")
        if content is None or len(content) > limit:
            raise InputError(f"{path}: larger than {limit} bytes")
        return content
