"""docker-compose.yml, the Dockerfile and the settings they run with fit the schema, the linter and each other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import parser
from server.settings import load

VARIABLE = re.compile(r"\$\{(\w+)(:-([^}]*))?\}")
PROFILES = ("cpu", "gpu")


def default(text):
    """Compose's interpolation where no variable is set."""
    return VARIABLE.sub(lambda found: found[3] or "", text)


def flags(compose):
    """vLLM's flags as compose passes them with no variable set."""
    command = [default(argument) for argument in compose["services"]["vllm"]["command"]]
    return dict(argument.partition("=")[::2] for argument in command)


def gateway(compose, profile):
    """The gateway's service in a profile."""
    return compose["services"][f"gateway-{profile}"]


@pytest.fixture
def dockerfile(root):
    """The Dockerfile's instructions, comments and continuations resolved."""
    text = (root / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]


def test_compose_follows_the_official_schema(root):
    """The compose specification's own schema accepts the file."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    result = subprocess.run(check, cwd=root, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_service_belongs_to_a_profile_together_with_what_it_needs(compose):
    """Each profile is whole: it never starts a service without the ones it depends on."""
    services = compose["services"]
    for profile in PROFILES:
        members = {name for name, service in services.items() if profile in service["profiles"]}
        assert {f"gateway-{profile}", "redis", "prometheus", "grafana"} <= members
        for name in members:
            assert set(services[name].get("depends_on", {})) <= members, name
    assert "vllm" in {name for name, service in services.items() if service["profiles"] == ["gpu"]}


def test_what_is_waited_for_has_a_health_check(compose):
    """A service that another waits for until healthy can say that it is."""
    for service in compose["services"].values():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in compose["services"][needed], needed


def test_every_service_restarts_is_checked_and_bounds_its_log(compose):
    """Nothing dies unseen, and no log fills the disk. The gateway's check is the image's own."""
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert "max-size" in service["logging"]["options"], name
        assert "healthcheck" in service or service["build"]["dockerfile"] == "deploy/Dockerfile", name


def test_images_are_pinned(compose, dockerfile):
    """No tag that moves: the same files give the same stack tomorrow."""
    pulled = [default(service["image"]) for service in compose["services"].values() if "build" not in service]
    pulled += [rest.split()[0] for word, rest in dockerfile if word == "FROM"]
    assert len(pulled) == 6
    for image in pulled:
        assert re.search(r":v?\d+\.\d+\.\d+(-[\w.-]+)?$", image), image


def test_every_variable_has_a_default_and_a_line_in_the_readme(root):
    """`docker compose up` asks for nothing, and what can be set is written down."""
    text = (root / "docker-compose.yml").read_text(encoding="utf-8")
    used = [found for found in VARIABLE.finditer(text) if found[1] != "VARIABLE"]
    documented = set(re.findall(r"`([A-Z][A-Z_]+)`", (root / "deploy" / "README.md").read_text(encoding="utf-8")))
    assert {found[1] for found in used if found[2] is None} == set()
    assert {found[1] for found in used} - documented == set()
    assert documented - {found[1] for found in used} == set()


def test_there_are_no_secrets(compose):
    """No password, token or key is written down, not even a default one."""
    for name, service in compose["services"].items():
        for variable, text in service.get("environment", {}).items():
            assert "PASSWORD" not in variable, name
            if re.search("TOKEN|KEY|SECRET", variable):
                assert default(text) == "", f"{name}: {variable}"


def test_published_ports_stay_on_this_machine(compose):
    """Without being told otherwise, nobody else can reach what asks for no password."""
    ports = [default(port) for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_mount_exists(compose, root):
    """Files mounted from here are here, and volumes are declared."""
    for service in compose["services"].values():
        for mount in service.get("volumes", []):
            source = default(mount).split(":")[0]
            assert (root / source).exists() if source.startswith("./") else source in compose["volumes"], mount


@pytest.mark.parametrize("profile", PROFILES)
def test_the_gateway_is_started_with_settings_that_load(profile, compose, root):
    """Each profile's command line parses, and its settings file is mounted where the command looks for it."""
    service = gateway(compose, profile)
    arguments = parser(service["command"]).parse_args(service["command"])
    source, target, _ = default(service["volumes"][0]).split(":")
    assert target == f"/app/{arguments.config}"
    assert arguments.host == "0.0.0.0"
    settings = load(root / source, host=arguments.host)
    assert settings.port == 8000
    assert service["ports"][0].endswith(":8000")
    for backend in settings.backends:
        assert backend.path is None or backend.path.exists()


def test_vllm_and_the_gateway_agree(compose, root):
    """Name, width and priorities are the same on both sides of the wire."""
    settings = load(root / "deploy" / "gateway-vllm.toml")
    (backend,), (model,) = settings.backends, settings.models
    given = flags(compose)
    assert given["--served-model-name"] == (model.upstream or model.name)
    assert int(given["--max-num-seqs"]) >= backend.slots
    assert (given["--scheduling-policy"] == "priority") == backend.priority
    assert {"--enable-prefix-caching", "--reasoning-parser"} <= set(given)
    assert backend.url == "http://vllm:8000/v1"
    (device,) = compose["services"]["vllm"]["deploy"]["resources"]["reservations"]["devices"]
    assert default(device["count"]) == given["--tensor-parallel-size"]


def test_prometheus_looks_for_names_that_compose_gives(compose, root):
    """The DNS names that are scraped are services or aliases."""
    aliases = {alias for p in PROFILES for alias in gateway(compose, p)["networks"]["default"]["aliases"]}
    text = (root / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    wanted = set(re.findall(r"names: \[(\w+)\]", text))
    assert wanted == {"gateway", "vllm"}
    assert wanted <= aliases | set(compose["services"])


def test_the_dockerfile_passes_its_linter(root):
    """hadolint has nothing to say."""
    hadolint = Path(sys.executable).with_name("hadolint")
    lint = [str(hadolint), "--no-color", str(root / "deploy" / "Dockerfile")]
    result = subprocess.run(lint, capture_output=True, text=True, timeout=20, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_what_is_copied_into_the_image_exists_and_travels(dockerfile, root):
    """Every COPY source is in the repository, and .dockerignore lets it through."""
    sources = [
        source
        for word, rest in dockerfile
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    ignore = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    assert ignore[1] == "*"
    assert {source for source in sources if not (root / source).exists()} == set()
    assert set(sources) == allowed


def test_the_image_holds_every_package_of_the_gateway(dockerfile, root):
    """Each top-level package that the wheel would carry is copied, so that no import is missing in the container."""
    copied = {rest.split()[0] for word, rest in dockerfile if word == "COPY"}
    packages = {path.parent.name for path in root.glob("*/__init__.py")} - {"bench"}
    assert {"core", "strategies", "scheduler", "server"} <= packages
    assert packages <= copied


def test_the_image_runs_as_nobody_special_and_checks_itself(dockerfile):
    """The last stage drops root, listens on all addresses of the container, and asks its own /health."""
    last = max(n for n, (word, _) in enumerate(dockerfile) if word == "FROM")
    final = dict(dockerfile[last:])
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", final["USER"])
    assert "/health" in final["HEALTHCHECK"]
    assert final["ENTRYPOINT"] == '["quorate"]'
    assert final["CMD"] == '["serve", "--host", "0.0.0.0"]'
