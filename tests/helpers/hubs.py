"""Stand-ins of Hugging Face and Kaggle on this machine, which speak with the hubs' own packages."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34
LARGE = ".h5", ".keras"  # kept apart from the texts of a repository, as Git LFS does


class Hubs:
    """The state of both stand-ins.

    Attributes:
        repositories: bytes by file, by address: "OWNER/REPO" of Hugging Face,
            "OWNER/MODEL/FRAMEWORK/VARIATION" of Kaggle.
        refusals: status and X-Error-Code by address, of what is not given to everybody; with
            "create" no repository is made.
        requests: the methods and paths that were answered.
        commits: title and files of each upload.
    """

    def __init__(self):
        self.repositories, self.refusals = {}, {}
        self.requests, self.commits, self.objects = [], [], {}
        self.address = ""

    def files(self, repository, revision="main"):
        """Returns the files of a repository, or a refusal: status and code."""
        if repository in self.refusals:
            return self.refusals[repository]
        if repository not in self.repositories:
            return 401, "RepoNotFound"
        if revision not in ("main", COMMIT):
            return 404, "RevisionNotFound"
        return self.repositories[repository]


def hugging_face_get(hubs, path):
    """Status, headers and content of a file or a list of files."""
    if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
        repository, revision, name = found.groups()
        files = hubs.files(repository, revision)
        if isinstance(files, tuple):
            return files[0], {"X-Error-Code": files[1]}, b""
        head = {"X-Repo-Commit": COMMIT}
        if name not in files:
            return 404, head | {"X-Error-Code": "EntryNotFound"}, b""
        return 200, head | {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"'}, files[name]
    found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
    if not found:
        return 404, {}, b""
    files = hubs.files(found[1], found[3] or "main")
    if isinstance(files, tuple):
        return files[0], {"X-Error-Code": files[1]}, b""
    if found[2] == "tree":
        tree = [
            {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            for name, content in files.items()
        ]
        return 200, {}, tree
    siblings = [{"rfilename": name} for name in files]
    return 200, {}, {"id": found[1], "sha": COMMIT, "siblings": siblings}


def hugging_face_post(hubs, path, body):
    """Answer to a step of an upload."""
    if path == "/api/repos/create" and "create" in hubs.refusals:
        return None
    if path == "/api/repos/create":
        owner, name = body.get("organization") or "me", body["name"]
        hubs.repositories.setdefault(f"{owner}/{name}", {})
        return {"url": f"{hubs.address}/{owner}/{name}", "id": f"{owner}/{name}"}
    if path == "/api/validate-yaml":
        return {"errors": [], "warnings": []}
    if "/preupload/" in path:
        modes = {True: "lfs", False: "regular"}
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": modes[file["path"].endswith(LARGE)],
                    "shouldIgnore": False,
                }
                for file in body["files"]
            ]
        }
    if path.endswith("/info/lfs/objects/batch"):
        actions = {"upload": {"href": f"{hubs.address}/objects/{body['objects'][0]['oid']}"}}
        return {"objects": [{**body["objects"][0], "actions": actions}]}
    repository = re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path)[1]
    commit = {"title": "", "files": []}
    for line in body:
        value = line["value"]
        if line["key"] == "header":
            commit["title"] = value["summary"]
            continue
        is_large = line["key"] == "lfsFile"
        content = hubs.objects[value["oid"]] if is_large else base64.b64decode(value["content"])
        hubs.repositories[repository][value["path"]] = content
        commit["files"].append(value["path"])
    hubs.commits.append(commit)
    return {"commitUrl": f"{hubs.address}/{repository}/commit/{COMMIT}", "commitOid": COMMIT}


def kaggle(hubs, model, file):
    """Status, headers and content of a file of Kaggle; without a file the newest version."""
    files = hubs.files(model)
    if isinstance(files, tuple):
        status = 404 if files[0] == 401 else files[0]
        return status, {}, {"code": status, "message": "no"}
    if file is None:
        return 200, {}, {"versionNumber": 3, "id": 1}
    if file not in files:
        return 404, {}, {"code": 404, "message": "no such file"}
    return 200, {}, files[file]


def kaggle_get(hubs, path):
    """Answer to kagglehub before 1.0."""
    found = re.fullmatch(r"/api/v1/models/((?:[^/]+/){3}[^/]+)/(?:get|(\d+)/download/(.+))", path)
    return kaggle(hubs, found[1], found[3])


def kaggle_post(hubs, path, body):
    """Answer to kagglehub from 1.0 on."""
    framework = body["framework"].removeprefix("MODEL_FRAMEWORK_").lower()
    model = f"{body['ownerSlug']}/{body['modelSlug']}/{framework}/{body['instanceSlug']}"
    is_download = path.endswith("/DownloadModelInstanceVersion")
    return kaggle(hubs, model, body["path"] if is_download else None)


class Handler(BaseHTTPRequestHandler):
    hubs: Hubs
    protocol_version = "HTTP/1.1"

    def answer(self, status, headers, content):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers = {"Content-Type": "application/json", **headers}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_request(self):
        path = self.path.partition("?")[0]
        self.hubs.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PUT":
            self.hubs.objects[path.rpartition("/")[2]] = body
            self.answer(200, {}, b"")
        elif self.command == "POST":
            lines = [json.loads(line) for line in body.splitlines() if line.strip()]
            is_commit = "/commit/" in path
            content = lines if is_commit else lines[0] if lines else {}
            if path.startswith("/api/v1/"):
                self.answer(*kaggle_post(self.hubs, path, content))
            else:
                answer = hugging_face_post(self.hubs, path, content)
                self.answer(200 if answer else 401, {}, answer or b"")
        else:
            get = kaggle_get if path.startswith("/api/v1/") else hugging_face_get
            self.answer(*get(self.hubs, path))

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def hubs_on_this_machine(monkeypatch, cache):
    """Runs the stand-ins, leads the hubs' packages to them, and keeps their caches apart."""
    hubs = Hubs()
    handler = type("HubsHandler", (Handler,), {"hubs": hubs})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hubs.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        use_address(monkeypatch, hubs.address, cache)
        try:
            yield hubs
        finally:
            server.shutdown()


def use_address(monkeypatch, address, cache):
    """Leads huggingface_hub and kagglehub, old and new, to an address."""
    from huggingface_hub import constants, file_download
    from kagglehub import clients

    # Kaggle's own looks at the source of every caller, for seconds.
    monkeypatch.setattr(clients, "get_user_agent", lambda: "test")

    for name, value in {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "HF_HUB_CACHE": str(cache / "hugging_face"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
        "HF_TOKEN_PATH": str(cache / "token"),
    }.items():
        monkeypatch.setattr(constants, name, value, raising=False)
        if hasattr(file_download, name):  # its own copy, before 1.0
            monkeypatch.setattr(file_download, name, value)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(cache / "kaggle"))
    monkeypatch.setenv("KAGGLEHUB_VERBOSITY", "error")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(cache))
    monkeypatch.setenv("KAGGLE_API_ENDPOINT", address)  # before kagglehub 1.0
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")  # from 1.0 on
    with contextlib.suppress(ImportError):
        from kagglesdk import kaggle_env

        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, address)
