"""The addresses of the loopback Hub that the real client asks for, and those of its storage."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlencode

import yaml
from hub_http import Handler, Refused
from hub_state import FRONT_MATTER, LARGE, File, Repository, Token, card_data

_KINDS = "models|datasets|spaces"


class Api(Handler):
    routes = (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("POST", r"/api/collections", "create_collection"),
        ("GET", r"/api/collections/([^/]+/[^/]+)", "get_collection"),
        ("POST", r"/api/collections/([^/]+/[^/]+)/items", "add_item"),
        ("GET", rf"/api/({_KINDS})", "list"),
        ("POST", rf"/api/({_KINDS})/([^/]+/[^/]+)/preupload/(.+)", "preupload"),
        ("POST", rf"/api/({_KINDS})/([^/]+/[^/]+)/commit/(.+)", "commit"),
        ("POST", rf"/api/({_KINDS})/([^/]+/[^/]+)/paths-info/(.+)", "paths_info"),
        ("GET", rf"/api/({_KINDS})/([^/]+/[^/]+)/tree/(.+)", "tree"),
        ("GET", rf"/api/({_KINDS})/([^/]+/[^/]+)/commits/(.+)", "history"),
        ("GET", rf"/api/({_KINDS})/([^/]+/[^/]+)/discussions/([0-9]+)", "discussion"),
        ("GET", r"/api/organizations/([^/]+)/members", "members"),
        ("GET", rf"/api/({_KINDS})/([^/]+/[^/]+)(?:/revision/(.+))?", "info"),
        ("POST", r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        ("POST", r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)\.git/info/lfs/verify", "verify"),
        ("GET", r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/((?:refs/pr/)?[^/]+)/(.+)", "resolve"),
    )

    # who asks

    def token(self) -> Token | None:
        given = self.headers.get("Authorization")
        if given is None:
            return None
        token = self.server.hub.tokens.get(given.removeprefix("Bearer "))
        if token is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return token

    def writer(self, namespace: str) -> Token:
        token = self.token()
        if token is None:
            raise Refused(401, "Invalid username or password.")
        if not token.writes(namespace):
            raise Refused(403, f'You don\'t have the rights to create a model under the namespace "{namespace}"')
        return token

    def find(self, kind: str | None, name: str) -> Repository:
        repo, token = self.server.hub.repositories.get((kind or "models", name)), self.token()
        owner = name.split("/")[0]
        hidden = (
            repo is not None and repo.private and not (token and (token.name == owner or owner in token.organisations))
        )
        if repo is None or hidden:
            raise Refused(404 if token else 401, "Repository not found", "RepoNotFound")
        return repo

    def files(self, repo: Repository, revision: str) -> tuple[str, dict[str, File]]:
        sha = repo.branches.get(revision, revision)
        if sha not in repo.commits:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, repo.commits[sha]

    def json(self) -> Any:
        return json.loads(self.read_body() or b"{}")

    def whoami(self) -> None:
        token = self.token()
        if token is None:
            raise Refused(401, "Invalid username or password.")
        access: dict[str, Any] = {"displayName": "test", "role": token.role}
        if token.scopes is not None:
            scoped = [{"entity": {"type": "org", "name": n}, "permissions": list(p)} for n, p in token.scopes.items()]
            access = {"displayName": "test", "role": "fineGrained", "fineGrained": {"global": [], "scoped": scoped}}
        orgs = [{"type": "org", "name": name, "roleInOrg": role} for name, role in token.organisations.items()]
        self.send(
            200,
            {"type": "user", "name": token.name, "orgs": orgs, "auth": {"type": "access_token", "accessToken": access}},
        )

    # repositories

    def create(self) -> None:
        given, hub = self.json(), self.server.hub
        kind = f"{given.get('type') or 'model'}s"
        token = self.token()
        namespace = given.get("organization") or (token.name if token else "")
        self.writer(namespace)
        name = f"{namespace}/{given['name']}"
        with hub.lock:
            if (kind, name) in hub.repositories:
                address = f"{hub.url}/{'' if kind == 'models' else kind + '/'}{name}"
                self.send(409, {"error": "You already created this repo", "url": address})
                return
            repo = hub.repositories[kind, name] = Repository(private=given.get("visibility") == "private")
            hub.store_commit(repo, "main", {".gitattributes": File(b"*.safetensors filter=lfs\n")}, "initial commit")
        prefix = "" if kind == "models" else f"{kind}/"
        self.send(200, {"url": f"{hub.url}/{prefix}{name}", "name": name, "id": "0"})

    def validate(self) -> None:
        match = FRONT_MATTER.match(self.json()["content"])
        try:
            data = yaml.safe_load(match.group(1)) if match else {}
            if not isinstance(data, dict):
                raise yaml.YAMLError("metadata must be an object")
        except yaml.YAMLError as error:
            self.send(400, {"errors": [{"message": f"invalid YAML: {error}"}], "warnings": []})
            return
        self.send(200, {"errors": [], "warnings": []})

    def preupload(self, kind: str, name: str, revision: str) -> None:
        if self.query.get("create_pr") != ["1"]:
            self.writer(name.split("/")[0])
        _, files = self.files(self.find(kind, name), revision)
        modes = [
            {
                "path": f["path"],
                "uploadMode": "lfs"
                if f["path"].endswith((".safetensors", ".parquet")) or f["size"] > LARGE
                else "regular",
                "shouldIgnore": False,
                "oid": files[f["path"]].oid if f["path"] in files else None,
            }
            for f in self.json()["files"]
        ]
        self.send(200, {"files": modes})

    def batch(self, kind: str | None, name: str) -> None:
        hub = self.server.hub
        self.writer(name.split("/")[0])
        self.find(kind, name)
        prefix = f"{kind}/" if kind else ""
        objects: list[dict[str, Any]] = []
        for wanted in self.json()["objects"]:
            entry: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in hub.large:
                entry["actions"] = {
                    "upload": {"href": f"{hub.storage_url}/lfs/{wanted['oid']}"},
                    "verify": {"href": f"{hub.url}/{prefix}{name}.git/info/lfs/verify"},
                }
            objects.append(entry)
        self.send(200, {"transfer": "basic", "objects": objects})

    def verify(self, kind: str | None, name: str) -> None:
        self.writer(name.split("/")[0])
        wanted = self.json()
        if len(self.server.hub.large.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refused(404, "no such object")
        self.send(200, {})

    def commit(self, kind: str, name: str, revision: str) -> None:
        hub = self.server.hub
        as_pr = self.query.get("create_pr") == ["1"]
        if not as_pr:
            self.writer(name.split("/")[0])
        elif self.token() is None:
            raise Refused(401, "Invalid username or password.")
        header, *lines = [json.loads(line) for line in self.read_body().splitlines() if line]
        with hub.lock:
            repo = self.find(kind, name)
            head, before = self.files(repo, revision)
            parent = header["value"].get("parentCommit")
            if parent is not None and not head.startswith(parent):
                raise Refused(412, "A commit has happened since. Please refresh and try again.")
            files = dict(before)
            for line in lines:
                self._apply(files, line["key"], line["value"])
            branch = f"refs/pr/{1 + sum(b.startswith('refs/pr/') for b in repo.branches)}" if as_pr else revision
            if as_pr and (token := self.token()) is not None:
                repo.authors[branch] = token.name
            sha = hub.store_commit(repo, branch, files, header["value"]["summary"], head)
            if not as_pr and "README.md" in {line["value"].get("path") for line in lines}:
                repo.card_data = None
        pull = f"{hub.url}/{name}/discussions/{branch.removeprefix('refs/pr/')}" if as_pr else None
        self.send(200, {"commitUrl": f"{hub.url}/{name}/commit/{sha}", "commitOid": sha, "pullRequestUrl": pull})

    def _apply(self, files: dict[str, File], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if key == "file":
            files[path] = File(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in self.server.hub.large:
                raise Refused(400, f"LFS pointer {value['oid']} points to nothing")
            files[path] = File(self.server.hub.large[value["oid"]], value["oid"])
        elif key == "deletedFile":
            if path not in files:
                raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            del files[path]
        else:
            for inside in [p for p in files if p.startswith(path.rstrip("/") + "/")]:
                del files[inside]

    # reading

    def describe(self, kind: str, name: str, repo: Repository, expand: set[str]) -> dict[str, Any]:
        card = repo.card_data if repo.card_data is not None else card_data(repo.files.get("README.md"))
        tags = (
            [str(t) for t in card.get("tags") or []]
            if isinstance(card, dict) and isinstance(card.get("tags"), list)
            else []
        )
        every = {
            "sha": repo.head,
            "lastModified": repo.modified,
            "author": name.split("/")[0],
            "private": repo.private,
            "tags": tags,
            "cardData": card,
            "siblings": [{"rfilename": path} for path in repo.files],
        }
        wanted = expand or set(every)
        return {"_id": "0", "id": name, "modelId": name} | {k: v for k, v in every.items() if k in wanted}

    def list(self, kind: str) -> None:
        """A page of repositories; ``HubServer.raw_page`` replaces one that holds cards."""
        hub, token = self.server.hub, self.token()
        if hub.raw_page is not None and "cardData" in self.query.get("expand", []):
            self.send(200, hub.raw_page)
            return
        author, tags = self.query.get("author", [""])[0], set(self.query.get("filter", []))
        expand = set(self.query.get("expand", []))
        after = self.query.get("cursor", [""])[0]
        page = min(int(self.query.get("limit", [hub.page])[0]), hub.page)
        with hub.lock:
            names = sorted(
                n
                for k, n in hub.repositories
                if k == kind and n > after and n.startswith(f"{author}/" if author else "")
            )
            found: list[dict[str, Any]] = []
            for name in names:
                repo = hub.repositories[kind, name]
                if repo.private and not (token and (token.name == author or author in token.organisations)):
                    continue
                item = self.describe(kind, name, repo, expand | {"tags"} if expand else set())
                if tags <= set(item["tags"]):
                    found.append(
                        item if not expand or "tags" in expand else {k: v for k, v in item.items() if k != "tags"}
                    )
                if len(found) > page:
                    break
        more = len(found) > page
        headers: dict[str, str] = {}
        if more:
            again = [(k, v) for k, values in self.query.items() for v in values if k != "cursor"]
            headers["Link"] = (
                f'<{hub.url}/api/{kind}?{urlencode([*again, ("cursor", found[page - 1]["id"])])}>; rel="next"'
            )
        self.send(200, found[:page], headers)

    def info(self, kind: str, name: str, revision: str | None) -> None:
        repo = self.find(kind, name)
        sha, _ = self.files(repo, revision or "main")
        self.send(200, self.describe(kind, name, repo, set(self.query.get("expand", []))) | {"sha": sha})

    def _entry(self, path: str, file: File) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(file.content), "oid": file.oid}
        if file.sha256 is not None:
            entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}
        return entry

    def tree(self, kind: str, name: str, revision: str) -> None:
        _, files = self.files(self.find(kind, name), revision)
        self.send(200, [self._entry(path, file) for path, file in sorted(files.items())])

    def history(self, kind: str, name: str, revision: str) -> None:
        repo = self.find(kind, name)
        commit: str | None = self.files(repo, revision)[0]
        found: list[dict[str, Any]] = []
        while commit is not None:
            found.append({"id": commit, "title": "", "message": "", "authors": [], "date": "2026-01-01T00:00:00.000Z"})
            commit = repo.parents.get(commit)
        self.send(200, found)

    def paths_info(self, kind: str, name: str, revision: str) -> None:
        _, files = self.files(self.find(kind, name), revision)
        wanted = parse_qs(self.read_body().decode()).get("paths", [])
        self.send(200, [self._entry(path, files[path]) for path in wanted if path in files])

    def resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        sha, files = self.files(self.find(kind, name), revision)
        common = {"X-Repo-Commit": sha, "Content-Type": "application/octet-stream"}
        if path not in files:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found", **common})
            return
        file = files[path]
        if file.sha256 is None:
            self.send(200, file.content, {"ETag": f'"{file.oid}"', **common})
            return
        linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        location = {"Location": f"{self.server.hub.storage_url}/lfs/{file.sha256}"}
        self.send(302, b"", linked | location | common)

    # people

    def discussion(self, kind: str, name: str, number: str) -> None:
        """A pull request; one whose account is gone has no author."""
        repo, branch = self.find(kind, name), f"refs/pr/{number}"
        if branch not in repo.branches:
            raise Refused(404, "Discussion not found", "DiscussionNotFound")
        author = {"author": {"name": repo.authors[branch], "type": "user"}} if branch in repo.authors else {}
        found = {"title": "", "num": int(number), "createdAt": "2026-01-01T00:00:00.000Z", "status": "open"}
        found |= {"repo": {"name": name, "type": kind[:-1]}, "isPullRequest": True, "events": []}
        found |= {"changes": {"base": "refs/heads/main"}, "filesWithConflicts": [], "diff": ""}
        self.send(200, found | author)

    def members(self, organisation: str) -> None:
        """Those whose token names the organisation, but for the ones that hide it."""
        names = {token.name for token in self.server.hub.tokens.values() if organisation in token.organisations}
        if not names:
            raise Refused(404, "Organization not found")
        if organisation in self.server.hub.hidden_members:
            raise Refused(403, "Members of this organization are hidden")
        self.send(200, [{"user": name, "fullname": name, "avatarUrl": "", "type": "user"} for name in sorted(names)])

    # collections

    def create_collection(self) -> None:
        given, hub = self.json(), self.server.hub
        self.writer(given["namespace"])
        slug = f"{given['namespace']}/{re.sub('[^a-z0-9]+', '-', given['title'].lower())}-{'0' * 24}"
        with hub.lock:
            if slug in hub.collections:
                self.send(409, {"error": "exists", "slug": slug})
                return
            hub.collections[slug] = {
                **{"slug": slug, "title": given["title"], "description": given.get("description"), "items": []},
                **{"owner": {"name": given["namespace"]}, "lastUpdated": "2026-01-01T00:00:00.000Z", "position": 0},
                **{"private": bool(given.get("private")), "theme": "blue", "upvotes": 0},
            }
        self.send(200, hub.collections[slug])

    def get_collection(self, slug: str) -> None:
        if slug not in self.server.hub.collections:
            raise Refused(404, "Collection not found")
        self.send(200, self.server.hub.collections[slug])

    def add_item(self, slug: str) -> None:
        hub, given = self.server.hub, self.json()
        self.writer(slug.split("/")[0])
        with hub.lock:
            items: list[dict[str, Any]] = hub.collections[slug]["items"]
            item = given["item"]
            if any(i["id"] == item["id"] for i in items):
                raise Refused(409, "Item already in collection")
            self.find(f"{item['type']}s", item["id"])
            note = {"note": {"text": given["note"]}} if given.get("note") else {}
            items.append(
                {"_id": f"{len(items):024d}", "id": item["id"], "type": item["type"], "position": len(items)} | note
            )
        self.send(200, hub.collections[slug])


class Storage(Handler):
    """Large files by SHA-256. It knows no tokens: an Authorization header that arrives here is a leak."""

    routes = (("PUT", r"/lfs/([0-9a-f]{64})", "upload"), ("GET", r"/lfs/([0-9a-f]{64})", "download"))

    def upload(self, oid: str) -> None:
        content = self.read_body()
        if hashlib.sha256(content).hexdigest() != oid:
            raise Refused(400, "content does not match its hash")
        with self.server.hub.lock:
            self.server.hub.large[oid] = content
        self.send(200)

    def download(self, oid: str) -> None:
        content = self.server.hub.large.get(oid)
        if content is None:
            raise Refused(404, "no such object")
        given = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(given.group(1)) if given else 0
        headers = {"ETag": f'"{oid}"', "Content-Type": "application/octet-stream"}
        if given:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(206 if given else 200, content[start:], headers)
