"""A server on loopback that speaks as much of the Hub's HTTP interface as the real client asks for.

Two origins, as on the Hub: the API, and the storage of large files, to which the API redirects. State is in memory.
Faults are injected with ``HubServer.fail``; every request is kept in ``HubServer.requests``.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import yaml

LARGE = 1_000_000  # bytes above which a file goes to the storage, like every *.safetensors
PAGE = 1000
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---(?:\n|\Z)", re.DOTALL)
_KINDS = "models|datasets|spaces"


@dataclass(frozen=True)
class File:
    """One file of a commit; ``sha256`` when its content lies in the storage."""

    content: bytes
    sha256: str | None = None

    @property
    def oid(self) -> str:
        """The git object id: of the content, or of the pointer to it."""
        data = self.content
        if self.sha256 is not None:
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(data)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repository:
    """Commits by branch, newest last. ``card_data`` replaces what the card says, for what a hostile card may become."""

    private: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    parents: dict[str, str | None] = field(default_factory=dict)
    card_data: Any = None
    modified: str = "2026-01-01T00:00:00.000Z"

    @property
    def head(self) -> str:
        return self.branches["main"]

    @property
    def files(self) -> dict[str, File]:
        return self.commits[self.head]


@dataclass(frozen=True)
class Token:
    """Who a token belongs to. ``scopes`` makes it fine-grained: permissions by namespace."""

    name: str
    role: str = "write"
    organisations: Mapping[str, str] = field(default_factory=dict)
    scopes: Mapping[str, tuple[str, ...]] | None = None

    def writes(self, namespace: str) -> bool:
        if namespace != self.name and self.organisations.get(namespace) not in ("write", "admin", "contributor"):
            return False
        if self.scopes is not None:
            return "repo.write" in self.scopes.get(namespace, ())
        return self.role == "write"


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that match."""

    method: str
    pattern: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut_after: int | None = None
    answer_lost: bool = False
    times: int = 1


class HubServer:
    """The state and the two listening sockets."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._counter = itertools.count()
        self._servers = [_Listener(("127.0.0.1", 0), handler) for handler in (_Api, _Storage)]
        for server in self._servers:
            server.hub = self
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)
        self.reset()

    def reset(self) -> None:
        """Forgets everything but its address."""
        with self.lock:
            self.tokens: dict[str, Token] = {}
            self.repositories: dict[tuple[str, str], Repository] = {}
            self.large: dict[str, bytes] = {}
            self.collections: dict[str, dict[str, Any]] = {}
            self.faults: list[Fault] = []
            self.requests: list[tuple[str, str, int]] = []
            self.authorised: list[tuple[str, str | None]] = []
            self.page = PAGE
            self.raw_page: bytes | None = None

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def fail(self, method: str, pattern: str, **what: Any) -> None:
        """Makes the next requests fail whose method and path match."""
        with self.lock:
            self.faults.append(Fault(method, pattern, **what))

    def count(self, pattern: str = "", method: str = "") -> int:
        """Requests so far whose path matches."""
        return sum(re.search(pattern, path) is not None and method in ("", m) for m, path, _ in list(self.requests))

    def put(self, repository: str, files: Mapping[str, bytes], kind: str = "models", card_data: Any = None) -> str:
        """Adds files to a repository past the API, as a push with git could."""
        with self.lock:
            repo = self.repositories.setdefault((kind, repository), Repository())
            before = repo.commits.get(repo.branches.get("main", ""), {})
            repo.card_data = card_data
            return self.store_commit(repo, "main", before | {p: self._file(p, c) for p, c in files.items()}, "put")

    def repository(self, name: str, kind: str = "models") -> Repository:
        return self.repositories[kind, name]

    def _file(self, path: str, content: bytes) -> File:
        if not (path.endswith((".safetensors", ".parquet")) or len(content) > LARGE):
            return File(content)
        digest = hashlib.sha256(content).hexdigest()
        self.large[digest] = content
        return File(content, digest)

    def store_commit(
        self, repo: Repository, branch: str, files: dict[str, File], message: str, parent: str | None = None
    ) -> str:
        """Adds a commit to a branch; its id is unlike that of any other, of this server or of an earlier one."""
        number = f"{self.url} {time.time_ns()} {next(self._counter)}"
        sha = hashlib.sha1(number.encode()).hexdigest()
        repo.parents[sha] = parent or repo.branches.get(branch)
        repo.commits[sha], repo.branches[branch] = files, sha
        repo.messages.append(message)
        repo.modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        return sha


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    hub: HubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: _Listener
    routes: tuple[tuple[str, str, str], ...] = ()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _answer(self) -> None:
        hub, split = self.server.hub, urlsplit(self.path)
        self.query = parse_qs(split.query)
        self.body: bytes | None = None
        self._status = 0
        self._lost = False
        # of this test, also when the answer comes after the next one has begun
        requests, authorised = hub.requests, hub.authorised
        fault = self._take_fault(hub, split.path)
        try:
            if fault is not None and self._break(fault):
                return
            self._lost = fault is not None and fault.answer_lost
            for method, pattern, name in self.routes:
                match = re.fullmatch(pattern, unquote(split.path))
                if match and self.command in (method, "HEAD" if method == "GET" else method):
                    self.read_body()
                    getattr(self, name)(*match.groups())
                    return
            raise _Refused(404, f"no such address: {self.command} {split.path}")
        except _Refused as error:
            self.send(
                error.status, {"error": error.message}, {"X-Error-Message": error.message, "X-Error-Code": error.code}
            )
        finally:
            with hub.lock:
                requests.append((self.command, self.path, self._status))
                authorised.append((self.path, self.headers.get("Authorization")))
            self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def _take_fault(self, hub: HubServer, path: str) -> Fault | None:
        with hub.lock:
            for fault in hub.faults:
                if fault.times and fault.method == self.command and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault
        return None

    def _break(self, fault: Fault) -> bool:
        """Does what a fault says; True when nothing is left to answer."""
        time.sleep(fault.delay)
        if fault.cut_after is not None:
            self.rfile.read(fault.cut_after)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return True
        if fault.status:
            self.read_body()
            self.send(fault.status, {"error": "injected"}, {"X-Error-Message": "injected", **fault.headers})
            return True
        return False

    def read_body(self) -> bytes:
        if self.body is None:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                parts: list[bytes] = []
                while size := int(self.rfile.readline().strip() or b"0", 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                self.body = b"".join(parts)
            else:
                self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return self.body

    def send(self, status: int, content: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._status = status
        if self._lost:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        given = {"Content-Length": str(len(data)), "Content-Type": "application/json"} | dict(headers or {})
        for name, value in given.items():
            if value:
                self.send_header(name, value.replace("\n", " "))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class _Api(_Handler):
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
            raise _Refused(401, "Invalid credentials in Authorization header")
        return token

    def writer(self, namespace: str) -> Token:
        token = self.token()
        if token is None:
            raise _Refused(401, "Invalid username or password.")
        if not token.writes(namespace):
            raise _Refused(403, f'You don\'t have the rights to create a model under the namespace "{namespace}"')
        return token

    def find(self, kind: str | None, name: str) -> Repository:
        repo, token = self.server.hub.repositories.get((kind or "models", name)), self.token()
        owner = name.split("/")[0]
        hidden = (
            repo is not None and repo.private and not (token and (token.name == owner or owner in token.organisations))
        )
        if repo is None or hidden:
            raise _Refused(404 if token else 401, "Repository not found", "RepoNotFound")
        return repo

    def files(self, repo: Repository, revision: str) -> tuple[str, dict[str, File]]:
        sha = repo.branches.get(revision, revision)
        if sha not in repo.commits:
            raise _Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, repo.commits[sha]

    def json(self) -> Any:
        return json.loads(self.read_body() or b"{}")

    def whoami(self) -> None:
        token = self.token()
        if token is None:
            raise _Refused(401, "Invalid username or password.")
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
        match = _FRONT_MATTER.match(self.json()["content"])
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
            raise _Refused(404, "no such object")
        self.send(200, {})

    def commit(self, kind: str, name: str, revision: str) -> None:
        hub = self.server.hub
        as_pr = self.query.get("create_pr") == ["1"]
        if not as_pr:
            self.writer(name.split("/")[0])
        elif self.token() is None:
            raise _Refused(401, "Invalid username or password.")
        header, *lines = [json.loads(line) for line in self.read_body().splitlines() if line]
        with hub.lock:
            repo = self.find(kind, name)
            head, before = self.files(repo, revision)
            parent = header["value"].get("parentCommit")
            if parent is not None and not head.startswith(parent):
                raise _Refused(412, "A commit has happened since. Please refresh and try again.")
            files = dict(before)
            for line in lines:
                self._apply(files, line["key"], line["value"])
            branch = f"refs/pr/{1 + sum(b.startswith('refs/pr/') for b in repo.branches)}" if as_pr else revision
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
                raise _Refused(400, f"LFS pointer {value['oid']} points to nothing")
            files[path] = File(self.server.hub.large[value["oid"]], value["oid"])
        elif key == "deletedFile":
            if path not in files:
                raise _Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
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
            raise _Refused(404, "Collection not found")
        self.send(200, self.server.hub.collections[slug])

    def add_item(self, slug: str) -> None:
        hub, given = self.server.hub, self.json()
        self.writer(slug.split("/")[0])
        with hub.lock:
            items: list[dict[str, Any]] = hub.collections[slug]["items"]
            item = given["item"]
            if any(i["id"] == item["id"] for i in items):
                raise _Refused(409, "Item already in collection")
            self.find(f"{item['type']}s", item["id"])
            note = {"note": {"text": given["note"]}} if given.get("note") else {}
            items.append(
                {"_id": f"{len(items):024d}", "id": item["id"], "type": item["type"], "position": len(items)} | note
            )
        self.send(200, hub.collections[slug])


class _Storage(_Handler):
    """Large files by SHA-256. It knows no tokens: an Authorization header that arrives here is a leak."""

    routes = (("PUT", r"/lfs/([0-9a-f]{64})", "upload"), ("GET", r"/lfs/([0-9a-f]{64})", "download"))

    def upload(self, oid: str) -> None:
        content = self.read_body()
        if hashlib.sha256(content).hexdigest() != oid:
            raise _Refused(400, "content does not match its hash")
        with self.server.hub.lock:
            self.server.hub.large[oid] = content
        self.send(200)

    def download(self, oid: str) -> None:
        content = self.server.hub.large.get(oid)
        if content is None:
            raise _Refused(404, "no such object")
        given = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(given.group(1)) if given else 0
        headers = {"ETag": f'"{oid}"', "Content-Type": "application/octet-stream"}
        if given:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(206 if given else 200, content[start:], headers)


_CARDS: dict[bytes, Any] = {}


def card_data(card: File | None) -> Any:
    """The metadata of a card as the Hub gives it; None when there is none or it is not YAML."""
    if card is None:
        return None
    key = hashlib.sha1(card.content).digest()
    if key not in _CARDS:
        match = _FRONT_MATTER.match(card.content.decode(errors="replace"))
        try:
            _CARDS[key] = yaml.load(match.group(1), yaml.CSafeLoader) if match else None
            json.dumps(_CARDS[key])
        except (yaml.YAMLError, TypeError, ValueError, RecursionError):
            _CARDS[key] = None
    return _CARDS[key]
