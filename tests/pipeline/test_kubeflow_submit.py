"""`deepfake submit`, against APIs that are started here."""

import http.server
import json
import threading

import pytest
import yaml
from compiled_pipeline import IMAGE, compile_arguments, compile_to, error_of, make_volume

from pipeline.cli import main

GOOGLE_IMAGE = "europe-west4-docker.pkg.dev/project/repository/deepfake-detection:0.1.0"

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return make_volume(tmp_path_factory.mktemp("volume"))


@pytest.mark.parametrize(
    ("target", "image", "words"),
    [
        ("kubeflow", "deepfake-detection:0.1.0", ["names no registry", "--image HOST/"]),
        ("kubeflow", "me/deepfake-detection:0.1.0", ["names no registry"]),
        ("kubeflow", "registry.example/deepfake", ["has no version"]),
        ("kubeflow", "registry.example/deepfake:latest", ["has no version"]),
        ("kubeflow", "registry.example/Deep Fake:1", ["no name of an image"]),
        ("vertex", "registry.example/deepfake:1", ["Artifact Registry"]),
    ],
)
def test_submit_refuses_images_that_cannot_be_pulled(volume, capsys, target, image, words):
    where = ["--host", "http://localhost:9"] if target == "kubeflow" else ["--project", "p"]
    options = compile_arguments(volume, target, *where, "--dry-run", "--image", image)
    assert main(["submit", *options]) == 2
    line = error_of(capsys)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("kubeflow", [], ["no host is named"]),
        ("vertex", ["--image", GOOGLE_IMAGE], ["no project is named"]),
        ("kubeflow", ["--host", "kubeflow.example"], ["http://"]),
        # Nothing listens on the port of discard.
        ("kubeflow", ["--host", "http://127.0.0.1:9"], ["does not answer", "refused"]),
        ("kubeflow", ["--host", "http://h", "--token-file", "/nowhere"], ["/nowhere", "No such"]),
    ],
)
def test_submit_refuses_before_it_compiles(volume, capsys, target, options, words):
    output = "never"
    assert main(["submit", *compile_arguments(volume, target, *options, output=output)]) == 2
    line = error_of(capsys)
    for word in words:
        assert word in line
    assert not (volume / output).exists()


def test_submit_without_an_output_makes_no_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--target", "kubeflow", "--image", IMAGE, "--host", "http://h", "--dry-run"]
    assert main(["submit", *options]) == 2
    assert "no output folder is named" in error_of(capsys)
    assert not [*tmp_path.iterdir()]


def test_dry_runs_say_what_would_be_submitted(volume, capsys):
    host = ["--host", "http://127.0.0.1:9", "--dry-run"]
    assert main(["submit", *compile_arguments(volume, "kubeflow", *host)]) == 0
    said = capsys.readouterr().out
    assert f"pipeline.yaml: 12 tasks in {IMAGE}, the volume deepfake at /mnt/deepfake" in said
    assert said.endswith("not submitted to http://127.0.0.1:9 (--dry-run)\n")
    project = ["--project", "project", "--region", "europe-west4", "--image", GOOGLE_IMAGE]
    project.append("--dry-run")
    assert main(["submit", *compile_arguments(volume, "vertex", *project)]) == 0
    said = capsys.readouterr().out
    assert f"12 tasks in {GOOGLE_IMAGE}, artifacts below gs://bucket/deepfake/out/artifacts" in said
    assert said.endswith("not submitted to project in europe-west4 (--dry-run)\n")


def test_submit_to_vertex_without_credentials_is_refused(volume, tmp_path, capsys, monkeypatch):
    for name, value in {
        "NO_GCE_CHECK": "true",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "GOOGLE_APPLICATION_CREDENTIALS": "",
    }.items():
        monkeypatch.setenv(name, value)
    options = ["--project", "project", "--image", GOOGLE_IMAGE]
    assert main(["submit", *compile_arguments(volume, "vertex", *options)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: there are no credentials for Google Cloud; run `gcloud auth")


def test_vertex_takes_the_job(tmp_path, monkeypatch):
    """As far as its client looks at it: submitting asks a server of Google's."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials

    from pipeline.submission import VertexPlace, make_vertex_job

    monkeypatch.setattr(google.auth, "default", lambda *_, **__: (AnonymousCredentials(), "p"))
    file = compile_to(tmp_path / "pipeline.json", "kubeflow.root=gs://bucket/root")
    made = make_vertex_job(file, json.loads(file.read_text()), VertexPlace("p", "europe-west4"))
    assert made._gca_resource.runtime_config.gcs_output_directory == "gs://bucket/root"
    assert made._gca_resource.display_name == "folder"


class Api(http.server.BaseHTTPRequestHandler):
    """The calls of Kubeflow Pipelines' and Kubernetes' APIs that a submission makes.

    Answers have the fields of api/v2beta1 (kubeflow/pipelines, backend/api/v2beta1/*.proto).
    """

    token = ""
    refuse = ""
    claims = ("deepfake",)
    received: list = []

    def _answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _known(self):
        if self.token and self.headers["Authorization"] != f"Bearer {self.token}":
            self._answer(401, {"message": "Unauthorized"})
            return False
        return True

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith("/api/v1/namespaces/"):
            if path.rpartition("/")[2] in self.claims:
                self._answer(200, {"kind": "PersistentVolumeClaim", "metadata": {}})
            else:
                self._answer(404, {"kind": "Status", "reason": "NotFound", "code": 404})
        elif not self._known():
            return
        elif path == "/apis/v2beta1/healthz":
            self._answer(200, {"multi_user": False})
        elif path == "/apis/v2beta1/experiments":
            self._answer(200, {"experiments": []})
        else:
            self._answer(404, {"message": "Not Found"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._known():
            return
        if self.path == "/apis/v2beta1/experiments":
            self._answer(200, {**body, "experiment_id": "e-1"})
        elif self.path == "/apis/v2beta1/runs" and self.refuse:
            self._answer(400, {"error": self.refuse, "code": 3, "message": self.refuse})
        elif self.path == "/apis/v2beta1/runs":
            self.received.append(body)
            self._answer(200, {"run_id": "r-1", "display_name": body["display_name"]})
        else:
            self._answer(404, {"message": "Not Found"})

    def log_message(self, *_):
        pass


@pytest.fixture
def api(tmp_path, monkeypatch):
    """The class of an API's answers, with its address in `url`; kubectl's file names it as well."""

    class ThisApi(Api):
        received: list = []

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ThisApi)
    ThisApi.url = f"http://127.0.0.1:{server.server_port}"
    kubectl = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": ThisApi.url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubectl))
    import kubernetes.config.kube_config

    # It reads KUBECONFIG when it is imported.
    monkeypatch.setattr(
        kubernetes.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig")
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield ThisApi
    server.shutdown()
    server.server_close()


def test_submit_starts_a_run_of_the_package(volume, api, tmp_path, capsys):
    api.token = "secret"
    (tmp_path / "token").write_text("secret\n")
    options = ["--host", api.url, "--token-file", str(tmp_path / "token"), "--namespace", "team"]
    root = ["--set", "kubeflow.root=s3://bucket/runs"]
    assert main(["submit", *compile_arguments(volume, "kubeflow", *options, *root)]) == 0
    said = capsys.readouterr().out
    assert "the volume deepfake exists\n" in said
    assert said.endswith(f"submitted to {api.url}: run r-1\n")
    (run,) = api.received
    assert run["experiment_id"] == "e-1"
    assert run["runtime_config"]["pipeline_root"] == "s3://bucket/runs"
    written = [*yaml.safe_load_all((volume / "out" / "inputs" / "pipeline.yaml").read_text())]
    sent = run["pipeline_spec"]
    assert [sent["pipeline_spec"], sent["platform_spec"]] == written


@pytest.mark.parametrize("options", [[], ["--no-cache"]])
def test_submit_may_run_every_task(volume, api, options):
    assert (
        main(["submit", *compile_arguments(volume, "kubeflow", "--host", api.url, *options)]) == 0
    )
    (run,) = api.received
    tasks = run["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
    cached = {task["cachingOptions"].get("enableCache", False) for task in tasks.values()}
    assert cached == {not options}


def test_submit_refuses_a_volume_that_the_cluster_does_not_have(volume, api, capsys):
    api.claims = ("other",)
    assert main(["submit", *compile_arguments(volume, "kubeflow", "--host", api.url)]) == 2
    assert "has no PersistentVolumeClaim deepfake" in error_of(capsys)
    assert not api.received


def test_submit_tells_why_the_api_refuses(volume, api, capsys):
    api.refuse = "Failed to fetch a template: invalid pipeline spec"
    assert main(["submit", *compile_arguments(volume, "kubeflow", "--host", api.url)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == f"error: {api.url} refuses the run: {api.refuse}"
    api.token = "secret"
    assert main(["submit", *compile_arguments(volume, "kubeflow", "--host", api.url)]) == 2
    assert "--token-file" in error_of(capsys)


def test_submit_refuses_what_is_no_kubeflow(volume, api, capsys):
    assert (
        main(["submit", *compile_arguments(volume, "kubeflow", "--host", f"{api.url}/other")]) == 2
    )
    assert "is no API of Kubeflow Pipelines 2" in error_of(capsys)
