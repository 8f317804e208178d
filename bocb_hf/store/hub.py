"""The Hub as a store: ``hf://<namespace>``, through huggingface_hub.

The token comes from the client's usual places and stays there. Only the namespace that the store was opened for is
ever written to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, RepoFile, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from bocb_hf.errors import InputError
from bocb_hf.runs.record import MAX_BYTES
from bocb_hf.store import hub_calls
from bocb_hf.store.hub_calls import client, explained, make_api, with_back_off
from bocb_hf.store.hub_listing import list_repositories
from bocb_hf.store.protocol import ConflictError, CopyOf, check_path, check_plain, check_repository, is_path

_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}")
# Loading a file of these formats can run code, so no such file is written or read.
UNSAFE = (".bin", ".ckpt", ".h5", ".joblib", ".msgpack", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".tar")

Operation = CommitOperationAdd | CommitOperationCopy | CommitOperationDelete


class HubStore:
    """Model repositories of one namespace.

    Reads see the revision that ``revision`` last returned, so that a commit is computed from one state.

    Args:
        namespace: User or organisation.

    Raises:
        InputError: ``namespace`` is not the name of a user or organisation.
    """

    def __init__(self, namespace: str) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise InputError(f"store: hf://{namespace} must name one user or organisation, as in hf://my-lab")
        self.namespace = namespace
        self.api = make_api()
        self._heads: dict[str, str] = {}
        self._trees: dict[str, tuple[str, dict[str, RepoFile]]] = {}

    @property
    def uri(self) -> str:
        return f"hf://{self.namespace}"

    def repositories(self) -> list[str]:
        return sorted(item.repository for item in list_repositories(self.namespace))

    def revision(self, repository: str) -> str | None:
        with explained(check_repository(repository)):
            try:
                info = with_back_off(lambda: self.api.model_info(repository, expand=["sha"], timeout=hub_calls.TIMEOUT))
            except RepositoryNotFoundError:
                self._heads.pop(repository, None)
                return None
        head = info.sha
        assert head is not None
        self._heads[repository] = head
        return head

    def files(self, repository: str) -> list[str]:
        """Paths of all files, sorted; without hidden ones and names that ``check_path`` refuses."""
        return sorted(filter(is_path, self._tree(repository)))

    def digest(self, repository: str, path: str) -> str | None:
        file = self._tree(repository).get(check_path(path))
        if file is None:
            return None
        if file.lfs is not None:  # the Hub keeps large files by their SHA-256
            return file.lfs.sha256
        return hashlib.sha256(self.read(repository, path)).hexdigest()

    def _tree(self, repository: str) -> Mapping[str, RepoFile]:
        """Every file of the head that was last seen, by its path; listed once for each head."""
        head = self._head(repository)
        if head is None:
            return {}
        known = self._trees.get(repository)
        if known is None or known[0] != head:
            with explained(repository):
                tree = list(self.api.list_repo_tree(repository, recursive=True, revision=head))
            known = self._trees[repository] = (head, {file.path: file for file in tree if isinstance(file, RepoFile)})
        return known[1]

    def read(self, repository: str, path: str) -> bytes:
        """Content of one file of at most 20 MB; weights are downloaded by ``huggingface_hub``, not through here.

        Raises:
            FileNotFoundError: There is no such file or repository.
            InputError: The file is larger.
        """
        head = self._head(repository)
        if head is None:
            raise FileNotFoundError(f"{repository}/{path}")
        return download(repository, check_path(path), head)

    def commit(
        self,
        repository: str,
        add: Mapping[str, bytes | Path | CopyOf],
        *,
        delete: Iterable[str] = (),
        parent: str | None,
        message: str,
    ) -> str:
        """Changes files in one commit of the repository; an upload that was cut sends only what is missing.

        Raises:
            ConflictError: ``parent`` is not the head; nothing was changed, unless an answer was lost on its way. In
                both cases the caller has to read again.
            HubError: The Hub refused.
        """
        if repository.split("/")[0] != self.namespace:
            raise InputError(f"{repository} is not in {self.uri}, the only place that this store writes to")
        check_repository(repository)
        check_plain(add)
        for path in add:
            if check_path(path).endswith(UNSAFE):
                raise InputError(f"{path}: only safetensors are stored, since loading such a file runs code")
        delete = [check_path(path) for path in delete]
        present = set(self.files(repository)) if delete and parent is not None else set[str]()
        removed = [path for path in delete if path in present and path not in add]
        with explained(repository):
            if parent is None:
                parent = self._create(repository)
            base = parent
            try:
                made = with_back_off(
                    lambda: self._send(repository, _operations(add, removed), base, message),
                    landed=lambda: self.revision(repository) != base,
                )
            except hub_calls.HTTPError as error:
                refused = isinstance(error, HfHubHTTPError) and error.response.status_code == 412
                if refused or self.revision(repository) != base:
                    raise ConflictError(f"{repository} changed since {parent}") from None
                raise
        self._heads[repository] = made
        return made

    def _send(self, repository: str, operations: list[Operation], parent: str, message: str) -> str:
        """Uploads each content once, though several paths may hold it, and commits; returns the new revision."""
        sources = {op.path_or_fileobj: op for op in operations if isinstance(op, CommitOperationAdd)}
        unique = [op for content, op in sources.items() if isinstance(content, str | Path)]
        self.api.preupload_lfs_files(repository, unique, free_memory=False)
        return self.api.create_commit(repository, operations, commit_message=message, parent_commit=parent).oid

    def _create(self, repository: str) -> str:
        """Makes the repository; returns its first commit, which the Hub makes by itself."""
        try:
            with_back_off(lambda: self.api.create_repo(repository, exist_ok=False))
        except HfHubHTTPError as error:
            if error.response.status_code == 409:
                raise ConflictError(f"{repository} exists already") from None
            raise
        head = self.revision(repository)
        assert head is not None
        return head

    def _head(self, repository: str) -> str | None:
        return self._heads.get(repository) or self.revision(repository)


def download(repository: str, path: str, revision: str, kind: str = "model", limit: int = MAX_BYTES) -> bytes:
    """Reads one file of the Hub into memory, and gives up as soon as it is longer than ``limit`` bytes.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is longer.
        HubError: The Hub refused.
    """
    url = hf_hub_url(repository, path, repo_type=kind, revision=revision)
    content = bytearray()
    with (
        explained(f"{repository}/{path}"),
        client.http_stream_backoff("GET", url, headers=client.build_hf_headers()) as response,
    ):
        if response.status_code >= 400:
            response.read()  # the body of an error is what the Hub says about it
        if response.status_code == 404:
            raise FileNotFoundError(f"{repository}/{path}")
        client.hf_raise_for_status(response)
        for part in response.iter_bytes():
            content += part
            if len(content) > limit:
                raise InputError(f"{repository}/{path}: larger than {limit} bytes")
    return bytes(content)


def _operations(add: Mapping[str, bytes | Path | CopyOf], removed: list[str]) -> list[Operation]:
    """Makes the operations of a commit. They are made anew for every attempt, because the client writes into them."""
    operations: list[Operation] = []
    for path, content in add.items():
        if isinstance(content, CopyOf):
            operations.append(CommitOperationCopy(content.path, path))
        else:
            operations.append(CommitOperationAdd(path, content))
    return [*operations, *(CommitOperationDelete(path) for path in removed)]
