"""A small Hub on loopback: enough of its HTTP protocol for the unchanged clients to create, upload, list and download.

Files go by git or by LFS, as on the public Hub; there is no Xet. `habits` makes it differ from that in ways in which
other servers do, and `fault` breaks what a test wants broken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
LFS_SUFFIXES = (".safetensors", ".onnx", ".parquet", ".png", ".npy", ".bin")
PART_BYTES = 1 << 20  # larger LFS objects come in parts of this size
LICENCES = {"apache-2.0", "mit", "cc-by-4.0", "cc0-1.0", "other", "unknown"}
BARE_INFO = {"id", "sha", "private", "siblings"}
HABITS = {
    "bare info": "info without cardData, tags and the like",
    "relative urls": "commitUrl without the host",
    "flat tree": "recursive trees without directory entries",
    "no pull requests": "create_pr is ignored",
    "no collections": "404",
    "no error codes": "neither X-Error-Code nor X-Error-Message",
    "no settings": "501",
    # Those of KohakuHub, which keeps its commits in LakeFS and its record of the files in a database:
    "conflicts are failures": "the 409 of a tag or branch that exists comes inside a 500",
    "long commit ids": "64 digits, of which info without a revision tells 40",
    "no revision errors": "a wrong revision is answered as a missing file is",
    "not implemented": "501 for discussions, collections and what is of a running Space; create_pr is ignored",
    "skips files": "a commit leaves out what a commit of any branch had last, and says nothing",
    "visibility ignored": "a new repository is public, whatever was asked for",
}


@dataclass(frozen=True)
class Blob:
    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def git(self) -> str:
        content = self.content
        if self.lfs:
            content = (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(content)}\n".encode()
            )
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        lfs = {"lfs": {"oid": self.sha256, "size": len(self.content), "pointerSize": 130}} if self.lfs else {}
        return {"type": "file", "path": path, "size": len(self.content), "oid": self.git, **lfs}


@dataclass
class Repo:
    type: str
    id: str
    private: bool
    sdk: str | None = None
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)  # by hash, oldest first
    titles: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    digits: int = 40  # of a commit
    secrets: dict[str, str] = field(default_factory=dict)  # of a Space
    recorded: dict[str, str] = field(default_factory=dict)  # the blob that was committed last under each path

    def commit(self, branch: str, files: dict[str, Blob], title: str) -> str:
        text = f"{len(self.commits)} {self.id} {title} {sorted((p, b.git) for p, b in files.items())}"
        oid = hashlib.sha256(text.encode()).hexdigest()[: self.digits]
        self.commits[oid], self.titles[oid], self.branches[branch] = files, title, oid
        return oid

    def resolve(self, revision: str) -> str | None:
        of_start = (oid for oid in self.commits if len(revision) >= 40 and oid.startswith(revision))
        return self.branches.get(revision) or self.tags.get(revision) or next(of_start, None)


class Refused(Exception):  # noqa: N818 - the name of a status, not of a bug
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        self.status, self.message, self.code = status, message, code


Fault = Callable[[str, str], int | str | None]


class LoopbackHub:
    """A running server. `repos`, `objects`, `log` (method, path, status) and `commits` may be looked at.

    commits: what the client sent in each: the path of a file, after a minus where it was to go.
    tokens: token to (account, its organisations, role). fault: asked with (method, path) before each request; a number
    is answered as that status, "drop" closes the connection, "half" does so within the answer, None lets it through.
    """

    def __init__(self, *habits: str) -> None:
        assert set(habits) <= set(HABITS)
        self.habits = set(habits)
        self.tokens = {
            "hf_anna": ("anna", ["lab"], "write"),
            "hf_reader": ("anna", [], "read"),
            "hf_bert": ("bert", [], "write"),
        }
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[str, str, int]] = []
        self.commits: list[list[str]] = []
        self.fault: Fault = lambda method, path: None
        self.quota: int | None = None  # bytes of LFS objects
        self.lock = threading.RLock()
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.storage = f"http://localhost:{self.server.server_address[1]}"  # another host to the client
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def files(self, type_: str, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        repo = self.repos[type_, repo_id]
        return {path: blob.content for path, blob in repo.commits[repo.resolve(revision)].items()}

    def sent(self, method: str, part: str) -> list[str]:
        """The paths of the requests so far with this method and this text in the path."""
        return [path for m, path, status in self.log if m == method and part in path and status < 400]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_hub: LoopbackHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    # ------------------------------------------------------------------ the frame
    def _answer(self) -> None:
        hub = self.server_hub
        split = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(split.query).items()}
        self.raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        fault = hub.fault(self.command, split.path)
        self.broken = fault == "half"
        if fault == "drop":
            hub.log.append((self.command, split.path, 599))
            self.close_connection = True
            self.connection.close()
            return
        try:
            if isinstance(fault, int):
                raise Refused(fault, "made to fail")
            with hub.lock:
                self._route([unquote(part) for part in split.path.strip("/").split("/")])
        except Refused as refusal:
            headers = {"X-Error-Message": refusal.message, **({"X-Error-Code": refusal.code} if refusal.code else {})}
            told = {} if "no error codes" in hub.habits else headers
            self._send(refusal.status, {"error": refusal.message}, told)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
        self.server_hub.log.append((self.command, urlsplit(self.path).path, status))
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if self.broken else body)
        self.close_connection |= self.broken

    @property
    def body(self) -> Any:
        return json.loads(self.raw or b"{}")

    def _account(self) -> tuple[str, list[str], str] | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not token:
            return None
        if token not in self.server_hub.tokens:
            raise Refused(401, "Invalid credentials in Authorization header")
        return self.server_hub.tokens[token]

    def _may_write(self, owner: str) -> None:
        account = self._account()
        if account is None:
            raise Refused(401, "Invalid username or password.")
        if account[2] == "read" or owner not in (account[0], *account[1]):
            raise Refused(403, f"You don't have the rights to write to the namespace {owner}")

    def _repo(self, kind: str, repo_id: str) -> Repo:
        repo = self.server_hub.repos.get((TYPES[kind], repo_id))
        account = self._account()
        visible = repo and (not repo.private or (account and repo_id.split("/")[0] in (account[0], *account[1])))
        if not visible:
            raise Refused(404 if account else 401, "Repository not found", "RepoNotFound")
        return repo

    def _commit_of(self, repo: Repo, revision: str) -> str:
        if (oid := repo.resolve(revision)) is None:
            unnamed = "no revision errors" in self.server_hub.habits
            raise Refused(404, f"Invalid rev id: {revision}", "EntryNotFound" if unnamed else "RevisionNotFound")
        return oid

    # ------------------------------------------------------------------ the routes
    def _route(self, parts: list[str]) -> None:
        match self.command, parts:
            case "GET", ["api", "whoami-v2"]:
                self._whoami()
            case "POST", ["api", "repos", "create"]:
                self._create()
            case "DELETE", ["api", "repos", "delete"]:
                self._delete()
            case "POST", ["api", "validate-yaml"]:
                if self._account() is None:
                    raise Refused(401, "Invalid username or password.")
                self._validate()
            case _, ["api", "collections", *_] | ["api", _, _, _, "discussions" | "secrets" | "runtime", *_] if (
                "not implemented" in self.server_hub.habits
            ):
                raise Refused(501, "not implemented here", "NotImplemented")
            case _, ["api", "collections", *rest]:
                self._collections(rest)
            case _, ["api", kind, owner, name, *rest] if kind in TYPES:
                self._of_repo(self._repo(kind, f"{owner}/{name}"), rest)
            case "GET", ["api", kind] if kind in TYPES:
                found = [r for r in self.server_hub.repos.values() if r.type == TYPES[kind] and not r.private]
                author = self.query.get("author")
                self._send(200, [{"id": r.id} for r in found if author in (None, r.id.split("/")[0])])
            case _, ["lfs", oid, *rest]:
                self._lfs(oid, rest)
            case "POST", [*repo, "info", "lfs", "objects", "batch"]:
                kind = repo[0] if repo[0] in TYPES else "models"
                self._batch(self._repo(kind, "/".join(repo[-2:]).removesuffix(".git")))
            case _, [kind, owner, name, "resolve", revision, *path] if kind in TYPES:
                self._resolve(self._repo(kind, f"{owner}/{name}"), revision, "/".join(path))
            case _, [owner, name, "resolve", revision, *path]:
                self._resolve(self._repo("models", f"{owner}/{name}"), revision, "/".join(path))
            case _:
                raise Refused(404, f"no such route: {self.command} {self.path}")

    def _of_repo(self, repo: Repo, rest: list[str]) -> None:
        if self.command in ("POST", "PUT", "DELETE") and rest[0] != "paths-info":
            self._may_write(repo.id.split("/")[0])
        match self.command, rest:
            case "GET", []:
                self._info(repo, "main", digits=40)
            case "GET", ["revision", revision]:
                self._info(repo, revision)
            case "GET", ["tree", revision, *path]:
                self._tree(repo, revision, "/".join(path))
            case "POST", ["paths-info", revision]:
                files = repo.commits[self._commit_of(repo, revision)]
                asked = parse_qs(self.raw.decode()).get("paths", [])
                self._send(200, [files[path].entry(path) for path in asked if path in files])
            case "GET", ["refs"]:
                self._send(
                    200,
                    {
                        "branches": _refs("heads", repo.branches),
                        "tags": _refs("tags", repo.tags),
                        "converts": [],
                    },
                )
            case "GET", ["commits", revision]:
                self._commit_of(repo, revision)
                commits = [
                    {"id": oid, "title": title, "message": "", "date": "2026-01-01T00:00:00.000Z", "authors": []}
                    for oid, title in reversed(repo.titles.items())
                ]
                self._send(200, commits)
            case (("POST" | "DELETE"), [("tag" | "branch") as what, name]):
                self._ref(repo, what, name)
            case "PUT", ["settings"]:
                self._settings(repo)
            case "GET", ["discussions"] if "no pull requests" not in self.server_hub.habits:
                self._send(200, {"discussions": [], "count": 0, "start": 0})
            case "POST", ["secrets"] if repo.type == "space":
                repo.secrets[self.body["key"]] = self.body["value"]
                self._send(200, {})
            case "POST", ["preupload", revision]:
                self._preupload(repo, revision)
            case "POST", ["commit", revision]:
                self._commit(repo, revision)
            case "GET", ["runtime"] if repo.type == "space":
                self._send(200, {"stage": "RUNNING", "hardware": {"current": "cpu-basic", "requested": None}})
            case _:
                raise Refused(404, f"no such route: {self.command} {self.path}")

    # ------------------------------------------------------------------ accounts and repositories
    def _whoami(self) -> None:
        account = self._account()
        if account is None:
            raise Refused(401, "Invalid username or password.")
        name, orgs, role = account
        token = {"accessToken": {"displayName": "test", "role": role}}
        self._send(200, {"type": "user", "name": name, "orgs": [{"name": org} for org in orgs], "auth": token})

    def _create(self) -> None:
        account = self._account()
        if account is None:
            raise Refused(401, "Invalid username or password.")
        owner = self.body.get("organization") or account[0]
        self._may_write(owner)
        kind, name = self.body.get("type") or "model", f"{owner}/{self.body['name']}"
        prefix = {"model": "", "dataset": "datasets/", "space": "spaces/"}[kind]
        url = f"{self.server_hub.url}/{prefix}{name}"
        if (kind, name) in self.server_hub.repos:
            return self._send(409, {"error": "You already created this repo", "url": url})
        if kind == "space" and not self.body.get("sdk"):
            raise Refused(400, "a Space needs an sdk")
        habits = self.server_hub.habits
        private = self.body.get("visibility") == "private" and "visibility ignored" not in habits
        repo = Repo(kind, name, private, self.body.get("sdk"), digits=64 if "long commit ids" in habits else 40)
        repo.commit("main", {".gitattributes": Blob(b"*.safetensors filter=lfs\n", lfs=False)}, "initial commit")
        self.server_hub.repos[kind, name] = repo
        return self._send(200, {"url": url})

    def _delete(self) -> None:
        owner = self.body.get("organization") or self._account()[0]
        self._may_write(owner)
        key = (self.body.get("type") or "model", f"{owner}/{self.body['name']}")
        if key not in self.server_hub.repos:
            raise Refused(404, "Repository not found", "RepoNotFound")
        del self.server_hub.repos[key]
        self._send(200, {})

    def _settings(self, repo: Repo) -> None:
        if "no settings" in self.server_hub.habits:
            raise Refused(501, "not here")
        if "visibility" in self.body or "private" in self.body:
            repo.private = self.body.get("visibility") == "private" or bool(self.body.get("private"))
        self._send(200, {"private": repo.private})

    def _ref(self, repo: Repo, what: str, name: str) -> None:
        refs = repo.tags if what == "tag" else repo.branches
        if self.command == "DELETE":
            if refs.pop(name, None) is None:
                raise Refused(404, "no such reference", "RevisionNotFound")
            return self._send(200, {})
        # tag/REVISION {tag}; branch/NAME {startingPoint}
        new, start = (self.body["tag"], name) if what == "tag" else (name, self.body.get("startingPoint", "main"))
        if new in refs:
            if "conflicts are failures" in self.server_hub.habits:
                raise Refused(500, f"Failed to create {what}: 409 conflict, it exists already", "ServerError")
            raise Refused(409, "Reference exists already")
        refs[new] = self._commit_of(repo, start)
        return self._send(200, {})

    def _info(self, repo: Repo, revision: str, digits: int = 64) -> None:
        oid = self._commit_of(repo, revision)
        files = repo.commits[oid]
        metadata = _front_matter(files["README.md"].content.decode()) if "README.md" in files else {}
        info = {
            "_id": "0",
            "id": repo.id,
            "sha": oid[:digits],
            "private": repo.private,
            "siblings": [{"rfilename": path} for path in files],
            "cardData": metadata,
            "tags": metadata.get("tags", []),
            "createdAt": "2026-01-01T00:00:00.000Z",
            "lastModified": "2026-01-01T00:00:00.000Z",
            "downloads": 0,
            "likes": 0,
            **({"sdk": repo.sdk} if repo.type == "space" else {}),
            **({"pipeline_tag": metadata.get("pipeline_tag")} if repo.type == "model" else {}),
        }
        bare = "bare info" in self.server_hub.habits
        self._send(200, {key: value for key, value in info.items() if not bare or key in BARE_INFO})

    # ------------------------------------------------------------------ reading
    def _tree(self, repo: Repo, revision: str, folder: str) -> None:
        files = repo.commits[self._commit_of(repo, revision)]
        start = f"{folder}/" if folder else ""
        inside = {path: blob for path, blob in files.items() if path.startswith(start)}
        if folder and not inside:
            raise Refused(404, "no such folder", "EntryNotFound")
        recursive = self.query.get("recursive", "").lower() == "true"
        folders = sorted({path[: m.start()] for path in inside for m in re.finditer("/", path)})
        folders = [one for one in folders if one.startswith(start) and (recursive or "/" not in one[len(start) :])]
        shown = [blob.entry(path) for path, blob in inside.items() if recursive or "/" not in path[len(start) :]]
        if not (recursive and "flat tree" in self.server_hub.habits):
            shown += [{"type": "directory", "path": one, "oid": "0" * 40} for one in folders]
        page, size = int(self.query.get("cursor", 0)), 50
        more = page + size < len(shown)
        link = (
            f'<{self.server_hub.url}{urlsplit(self.path).path}?recursive={recursive}&cursor={page + size}>; rel="next"'
        )
        self._send(200, shown[page : page + size], {"Link": link} if more else {})

    def _resolve(self, repo: Repo, revision: str, path: str) -> None:
        oid = self._commit_of(repo, revision)
        blob = repo.commits[oid].get(path)
        if blob is None:
            raise Refused(404, f"{path} does not exist", "EntryNotFound")
        etag = blob.sha256 if blob.lfs else blob.git
        headers = {"X-Repo-Commit": oid, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(blob.content))}
            self.server_hub.objects[etag] = blob.content
            return self._send(302, None, {**headers, "Location": f"{self.server_hub.storage}/lfs/{etag}"})
        return self._content(blob.content, headers)

    def _content(self, content: bytes, headers: dict[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        headers = {**headers, "Content-Type": "application/octet-stream"}
        if not wanted:
            headers |= {"Content-Length": str(len(content))}
            return self._send(200, content, headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        headers |= {"Content-Range": f"bytes {first}-{last}/{len(content)}", "Content-Length": str(last + 1 - first)}
        return self._send(206, content[first : last + 1], headers)

    # ------------------------------------------------------------------ writing
    def _validate(self) -> None:
        metadata = _front_matter(self.body["content"])
        errors = [] if metadata is not None else ["the metadata is no YAML"]
        metadata = metadata or {}
        if metadata.get("license") not in LICENCES | {None}:
            errors.append(f'"license" must be one of {sorted(LICENCES)}')
        for model in metadata.get("model-index") or []:
            if not model.get("name") or not all(r.get("task") and r.get("metrics") for r in model.get("results", [])):
                errors.append('"model-index" is incomplete')
        if self.body["repoType"] == "space":
            colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
            errors += [
                f'"{key}" is wrong' for key in ("colorFrom", "colorTo") if metadata.get(key, "red") not in colours
            ]
            if len(metadata.get("short_description") or "") > 60:
                errors.append('"short_description" is longer than 60')
        found = {"errors": [{"message": text} for text in errors], "warnings": []}
        self._send(400 if errors else 200, found)

    def _preupload(self, repo: Repo, revision: str) -> None:
        files = repo.commits[self._commit_of(repo, revision)]
        told = []
        for asked in self.body["files"]:
            sample = base64.b64decode(asked["sample"])
            lfs = asked["path"].endswith(LFS_SUFFIXES) or b"\0" in sample or asked["size"] > 10**7
            blob = files.get(asked["path"])
            oid = {"oid": blob.sha256 if blob.lfs else blob.git} if blob else {}
            told.append(
                {"path": asked["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, **oid}
            )
        self._send(200, {"files": told})

    def _batch(self, repo: Repo) -> None:
        self._may_write(repo.id.split("/")[0])
        hub, answers = self.server_hub, []
        for asked in self.body["objects"]:
            oid, size, answer = asked["oid"], asked["size"], {"oid": asked["oid"], "size": asked["size"]}
            if (
                hub.quota is not None
                and oid not in hub.objects
                and sum(map(len, hub.objects.values())) + size > hub.quota
            ):
                answer["error"] = {"code": 403, "message": "Your storage quota is exceeded"}
            elif oid not in hub.objects:
                upload: dict[str, Any] = {"href": f"{hub.url}/lfs/{oid}"}
                if size > PART_BYTES:
                    count = -(-size // PART_BYTES)
                    numbers = {str(k): f"{hub.url}/lfs/{oid}/{k}" for k in range(1, count + 1)}
                    upload = {
                        "href": f"{hub.url}/lfs/{oid}/complete",
                        "header": {"chunk_size": str(PART_BYTES), **numbers},
                    }
                answer["actions"] = {"upload": upload, "verify": {"href": f"{hub.url}/lfs/{oid}/verify"}}
            answers.append(answer)
        multipart = any("header" in (a.get("actions") or {}).get("upload", {}) for a in answers)
        self._send(200, {"objects": answers, "transfer": "multipart" if multipart else "basic"})

    def _lfs(self, oid: str, rest: list[str]) -> None:
        hub = self.server_hub
        match self.command, rest:
            case (("GET" | "HEAD"), []) if self.headers.get("Authorization"):
                raise Refused(400, "a storage of another host must not be given the token")
            case (("GET" | "HEAD"), []) if oid in hub.objects:
                self._content(hub.objects[oid], {"ETag": f'"{oid}"'})
            case "PUT", []:
                self._store(oid, self.raw)
            case "PUT", [number]:
                hub.parts[oid, int(number)] = self.raw
                self._send(200, None, {"ETag": f'"{number}"'})
            case "POST", ["complete"]:
                numbers = [part["partNumber"] for part in self.body["parts"]]
                self._store(oid, b"".join(hub.parts.pop((oid, number)) for number in numbers))
            case "POST", ["verify"] if len(hub.objects.get(oid, b"")) == self.body["size"]:
                self._send(200, {})
            case _:
                raise Refused(404, "no such object")

    def _store(self, oid: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != oid:
            raise Refused(422, "the bytes are not those of the hash")
        self.server_hub.objects[oid] = content
        self._send(200)

    def _commit(self, repo: Repo, revision: str) -> None:
        lines = [json.loads(line) for line in self.raw.splitlines() if line.strip()]
        parent = self._commit_of(repo, revision)
        files, title = dict(repo.commits[parent]), ""
        for line in lines:
            value = line["value"]
            if "skips files" in self.server_hub.habits and self._skipped(repo, line):
                continue
            if line["key"] == "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, parent):
                    raise Refused(412, "A commit has happened since. Please refresh and try again.")
            elif line["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server_hub.objects:
                    raise Refused(400, f"LFS pointer points to an object that was not uploaded: {value['path']}")
                files[value["path"]] = Blob(self.server_hub.objects[value["oid"]], lfs=True)
            elif line["key"] == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
            elif line["key"] == "deletedFolder":
                files = {path: blob for path, blob in files.items() if not path.startswith(value["path"])}
        sent = [(line["key"].startswith("deleted"), line["value"].get("path")) for line in lines]
        self.server_hub.commits.append([f"-{path}" if gone else path for gone, path in sent if path])
        prefix = "" if repo.type == "model" else f"{repo.type}s/"
        base = "" if "relative urls" in self.server_hub.habits else self.server_hub.url
        branch, request = revision, {}
        if "not implemented" in self.server_hub.habits:
            request = {"pullRequestUrl": None}
        elif self.query.get("create_pr") and "no pull requests" not in self.server_hub.habits:
            number = 1 + sum(name.startswith("refs/pr/") for name in repo.branches)
            branch = f"refs/pr/{number}"
            request = {"pullRequestUrl": f"{self.server_hub.url}/{prefix}{repo.id}/discussions/{number}"}
        oid = repo.commit(branch, files, title)
        self._send(200, {"commitUrl": f"{base}/{prefix}{repo.id}/commit/{oid}", "commitOid": oid, **request})

    def _skipped(self, repo: Repo, line: dict[str, Any]) -> bool:
        """Whether the record says, of whatever branch, that the file is there as it comes; and the record of it."""
        value = line["value"]
        if line["key"] == "deletedFile":
            repo.recorded.pop(value["path"], None)
        if line["key"] not in ("file", "lfsFile"):
            return False
        blob = value.get("oid") or Blob(base64.b64decode(value["content"]), lfs=False).git
        before, repo.recorded[value["path"]] = repo.recorded.get(value["path"]), blob
        return before == blob

    # ------------------------------------------------------------------ collections
    def _collections(self, rest: list[str]) -> None:
        hub = self.server_hub
        if "no collections" in hub.habits:
            raise Refused(404, "not here")
        match self.command, rest:
            case "POST", []:
                self._may_write(self.body["namespace"])
                slug = f"{self.body['namespace']}/{self.body['title']}-64f9"
                if slug in hub.collections:
                    return self._send(409, {"error": "exists", "slug": slug})
                hub.collections[slug] = {**self.body, "items": []}
            case "POST", [owner, name, "items"]:
                slug, item = f"{owner}/{name}", self.body["item"]
                if item["id"] in [one["id"] for one in hub.collections[slug]["items"]]:
                    raise Refused(409, "exists")
                hub.collections[slug]["items"].append(item)
            case "GET", [owner, name]:
                slug = f"{owner}/{name}"
            case _:
                raise Refused(404, "no such route")
        found = hub.collections[slug]
        items = [{"_id": str(k), "position": k, **item} for k, item in enumerate(found["items"])]
        return self._send(
            200,
            {
                "slug": slug,
                "title": found["title"],
                "owner": {"name": found["namespace"]},
                "items": items,
                "lastUpdated": "2026-01-01T00:00:00.000Z",
                "position": 0,
                "private": found.get("private", False),
                "theme": "blue",
                "upvotes": 0,
                "description": found.get("description"),
            },
        )


def _refs(kind: str, refs: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in refs.items()]


def _front_matter(text: str) -> dict[str, Any] | None:
    """The metadata of a card; None where it is no YAML mapping."""
    found = re.match(r"---\n(.*?)\n---", text, flags=re.DOTALL)
    if not found:
        return {}
    try:
        metadata = yaml.safe_load(found[1])
    except yaml.YAMLError:
        return None
    return metadata if isinstance(metadata, dict) else None
