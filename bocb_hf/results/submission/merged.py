"""Submitted repositories as a store, which holds the records that a maintainer has merged and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from bocb_hf.errors import InputError
from bocb_hf.results.submission.check import changed_since, changed_text
from bocb_hf.results.submission.document import Submission
from bocb_hf.runs.card import CardBlock
from bocb_hf.store.card_cache import CardCache, Refreshed
from bocb_hf.store.contents import Quarantined
from bocb_hf.store.hub_calls import HubError
from bocb_hf.store.hub_listing import read_item


class SubmittedCache(CardCache):
    """The submitted repositories of one namespace, read at their heads.

    A stranger's namespace is never listed: each repository is asked for by its name. A record counts when its SHA-256
    was submitted; records that its owner has added or changed since wait for the next submission.

    Args:
        namespace: User or organisation.
        submissions: Submissions of repositories of the namespace.
        folder: Folder of all caches.
        offline: Whether to send no request to the Hub.

    Raises:
        InputError: The folder cannot be written.
    """

    def __init__(
        self, namespace: str, submissions: Sequence[Submission], folder: Path | None = None, offline: bool = False
    ) -> None:
        super().__init__(namespace, folder, offline)
        self.submissions: Mapping[str, Submission] = {s.repository: s for s in submissions}

    def refresh(self) -> Refreshed:
        """Reads the cards that have changed, with one request for each repository.

        Raises:
            HubError: The Hub refused.
        """
        if self.offline:
            return Refreshed(len(self.repositories()), 0, 0)
        changed = gone = 0
        for name in self.submissions:
            try:
                item = read_item(name)
            except HubError as error:
                # a repository that was made private or deleted must not stop all others
                if error.status not in (401, 403, 404):
                    raise
                item = None
            # the Hub follows a repository that was moved, but only the submitted name is read
            if item is None or item.repository != name:
                gone += 1
                with self.base:
                    self.base.execute("DELETE FROM cards WHERE repository = ?", (name,))
            elif self.revision(name) != item.sha:
                changed += 1
                self._take([item])
        return Refreshed(len(self.submissions) - gone, changed, gone)

    def cards(self) -> Iterator[tuple[str, str, CardBlock | str]]:
        return (card for card in super().cards() if card[0] in self.submissions)

    def repositories(self) -> list[str]:
        return [name for name in super().repositories() if name in self.submissions]

    def read(self, repository: str, path: str) -> bytes:
        """Content of a record, if it was submitted.

        Raises:
            InputError: The record was not submitted, or ``CardCache.read`` raises it.
        """
        submission = self.submissions[repository]
        if self.card(repository).paths().get(path) not in submission.records:
            raise InputError(
                f"{repository}/{path}: is not what was submitted at commit {submission.revision[:12]}; its owner can "
                "submit it again"
            )
        return super().read(repository, path)

    def lost(self) -> Iterator[Quarantined]:
        """Names the submitted records that are missing now; retracted runs are named by the card."""
        blocks = {repository: block for repository, _, block in self.cards()}
        for repository, submission in self.submissions.items():
            block = blocks.get(repository)
            if block is None:
                gone = "was never read; run it once without --offline" if self.offline else "is gone, private or moved"
                yield Quarantined(repository, "", f"was submitted, but {gone}")
            elif not isinstance(block, str) and (digests := changed_since(submission, block)):
                yield Quarantined(repository, "", changed_text(submission, digests))


def open_submitted(
    stack: ExitStack, submissions: Sequence[Submission], folder: Path | None = None, offline: bool = False
) -> list[SubmittedCache]:
    """Opens a cache for each namespace with a submission, and reads it anew.

    Args:
        stack: Closes the caches.
        submissions: The submissions that were merged.
        folder: Folder of all caches.
        offline: Whether to send no request to the Hub.

    Raises:
        HubError: The Hub refused.
    """
    caches: list[SubmittedCache] = []
    for namespace in sorted({s.namespace for s in submissions}):
        own = [s for s in submissions if s.namespace == namespace]
        caches.append(stack.enter_context(closing(SubmittedCache(namespace, own, folder, offline))))
        caches[-1].refresh()
    return caches
