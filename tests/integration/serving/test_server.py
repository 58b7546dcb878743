"""The real server: started as people start it, killed as machines kill it."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.access.clients import create_api_key
from api.audit.log import AuditKeys, read_plaintexts, verify_log
from api.settings import ApiSettings
from tests.support.scoring_home import NOW_US, api_environment, payment, write_scoring_home
from warehouse.live.store import LiveStore
from warehouse.settings import PROJECT_ROOT

pytestmark = pytest.mark.services

START_SECONDS = 60
PROGRAMS = Path(sys.executable).parent


class Deployment:
    """A home with secrets and an API key, and servers on it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "server.log"
        self.variables = api_environment(write_scoring_home(folder))
        self.settings = ApiSettings.from_environment(self.variables)
        with self.store() as store:
            secret = self.settings.api_key_secret
            self.api_key = create_api_key(store, secret, name="test", role="scorer", now_us=NOW_US)

    @contextmanager
    def store(self) -> Iterator[LiveStore]:
        """Open the live store."""
        store = LiveStore.open(self.settings.home)
        store.create_tables()
        yield store
        store.close()

    def start(self, *command: str, url: str, certificate: Path | None = None) -> Server:
        """Start a server and wait until it is ready."""
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [str(PROGRAMS / command[0]), *command[1:]],
                cwd=PROJECT_ROOT,
                env=os.environ | self.variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = Server(process, url, certificate)
        try:
            server.log_in(self.api_key)
        except BaseException:
            server.kill()
            raise AssertionError(f"the server did not start: {self.log.read_text()[-3000:]}") from None
        return server

    def serve(self, *, workers: int = 1) -> Server:
        """Start `cbp serve` on a free port."""
        port = free_port()
        command = ("cbp", "serve", "--port", str(port), "--workers", str(workers))
        return self.start(*command, url=f"http://127.0.0.1:{port}")

    def verified_records(self) -> list[dict[str, Any]]:
        """Verify the audit log, and return what it holds; nothing may be left to ship."""
        keys = AuditKeys(self.settings.aes_keys)
        with self.store() as store:
            head = store.audit_head()
        assert head.unshipped == ()
        verify_log(self.settings.prediction_log, keys, head)
        return [json.loads(plaintext) for plaintext in read_plaintexts(self.settings.prediction_log, keys)]


class Server:
    """A running server and a client of it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, certificate: Path | None) -> None:
        self.process = process
        self.url = url
        trusted = None if certificate is None else str(certificate)
        self.http = httpx.Client(base_url=url, timeout=30, verify=ssl.create_default_context(cafile=trusted))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.kill()

    def log_in(self, api_key: str) -> None:
        """Wait until it is ready, and get a token."""
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        answer = self.http.post("/token", json={"api_key": api_key})
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _is_ready(self) -> bool:
        try:
            return self.http.get("/health/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def predict(self, *bodies: Mapping[str, Any]) -> httpx.Response:
        """Send transactions to be decided."""
        return self.http.post("/predict", json={"transactions": [*bodies]})

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """Kill it and its workers (its own session)."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


@dataclass
class Run:
    """Sixty payments sent by four clients to two workers, and what they got."""

    deployment: Deployment
    answers: dict[str, httpx.Response]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    deployment = Deployment(tmp_path_factory.mktemp("run"))
    bodies = [payment(number, customer_id=f"confidential-{number % 3}") for number in range(60)]
    answers: dict[str, httpx.Response] = {}
    with deployment.serve(workers=2) as server:

        def send(some: list[dict[str, Any]]) -> None:
            # A new connection each time, so that both workers get their share.
            headers = {**server.http.headers, "Connection": "close"}
            with httpx.Client(base_url=server.url, headers=headers, timeout=30) as http:
                for body in some:
                    answers[body["transaction_id"]] = http.post("/predict", json={"transactions": [body]})

        with ThreadPoolExecutor(4) as clients:
            list(clients.map(send, [bodies[part::4] for part in range(4)]))
        for body in bodies[::7]:
            assert server.predict(body).content == answers[body["transaction_id"]].content
        assert server.stop() == 0
    return Run(deployment, answers)


def test_two_workers_write_one_chain_and_stop_with_everything_shipped(run: Run) -> None:
    assert {answer.status_code for answer in run.answers.values()} == {200}
    assert len(run.answers) == 60
    records = run.deployment.verified_records()
    assert sorted(record["arrival_seq"] for record in records) == [*range(1, 61)]


def test_each_request_has_one_line_of_json_that_names_no_person(run: Run) -> None:
    text = run.deployment.log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    by_id = {line["request_id"]: line for line in lines if "request_id" in line}
    for answer in run.answers.values():
        line = by_id[answer.headers["X-Request-Id"]]
        assert (line["route"], line["status"], line["transactions"]) == ("/predict", 200, 1)
    assert "confidential" not in text


def test_kill_9_under_load_loses_no_answer_and_counts_nothing_twice(deployment: Deployment) -> None:
    chance = random.Random(0)  # noqa: S311 - a test's choice

    def second(number: int) -> dict[str, Any]:
        return payment(number, event_us=NOW_US + number * 1_000_000)

    answered: dict[int, bytes] = {}
    start = 0
    for _ in range(2):
        with deployment.serve(workers=2) as server:
            killer = threading.Timer(0.2 + chance.random() * 0.6, server.kill)
            killer.start()
            for number in itertools.count(start):
                try:
                    answer = server.predict(second(number))
                except httpx.TransportError:
                    break
                assert answer.status_code == 200, answer.text
                answered[number] = answer.content
            killer.join()
            start = max(answered, default=0)
    with deployment.serve() as server:
        for number in range(max(answered) + 2):
            answer = server.predict(second(number))
            assert answer.status_code == 200, answer.text
            assert answered.setdefault(number, answer.content) == answer.content
        assert server.stop() == 0
    records = deployment.verified_records()
    names = [record["transaction"]["transaction_id"] for record in records]
    assert sorted(names) == sorted(second(number)["transaction_id"] for number in answered)
    counts = dict.fromkeys(("c1", "c2", "c3"), 0)
    for record in sorted(records, key=lambda record: record["arrival_seq"]):
        customer = record["transaction"]["customer_id"]
        assert record["features"]["transaction_count_24h"] == counts[customer]
        counts[customer] += 1


def test_a_worker_that_is_killed_is_replaced_and_its_claims_with_it(deployment: Deployment) -> None:
    with deployment.serve(workers=1) as server:
        before = server.predict(payment(1)).content
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        (worker,) = [
            int(pid)
            for pid in children.read_text().split()
            if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        time.sleep(6)  # a worker that dies at once is a crash loop to granian
        os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = server.predict(payment(1))
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert answer.content == before


def test_the_whole_log_is_checked_by_the_command(run: Run) -> None:
    def run_verify() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAMS / "cbp"), "audit", "verify"],
            env=os.environ | run.deployment.variables,
            capture_output=True,
            text=True,
            check=False,
        )

    whole = run_verify()
    assert whole.returncode == 0, whole.stderr
    assert "60 records" in whole.stdout
    log = run.deployment.settings.prediction_log
    kept = log.read_bytes()
    content = bytearray(kept)
    place = content.index(b"\n", len(content) // 2) + 200
    content[place] ^= 4
    log.write_bytes(content)
    number = bytes(content[:place]).count(b"\n") + 1
    broken = run_verify()
    log.write_bytes(kept)
    assert broken.returncode == 1
    assert f"record {number} " in broken.stderr


def test_flask_s_own_command_serves_too(deployment: Deployment) -> None:
    port = free_port()
    command = ("flask", "--app", "api", "run", "--port", str(port))
    with deployment.start(*command, url=f"http://127.0.0.1:{port}") as server:
        assert server.predict(payment(1)).status_code == 200


def test_it_serves_over_tls(deployment: Deployment, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    command = ("cbp", "serve", "--port", str(port), "--cert", str(certificate), "--key", str(key))
    with deployment.start(*command, url=f"https://127.0.0.1:{port}", certificate=certificate) as server:
        answer = server.http.get("/health/live", headers={"X-Forwarded-For": "192.0.2.1"})
        assert answer.status_code == 200
        assert "Strict-Transport-Security" in answer.headers
        assert server.predict(payment(1)).status_code == 200


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate of this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


@pytest.mark.parametrize(
    ("name", "value"),
    [("JWT_SECRET", ""), ("API_KEY_SECRET", "short"), ("AES_KEY", "bm90IDMyIGJ5dGVz"), ("MAX_BATCH", "many")],
)
def test_a_missing_or_bad_setting_ends_the_start_with_its_name(
    deployment: Deployment, name: str, value: str
) -> None:
    result = subprocess.run(
        [str(PROGRAMS / "cbp"), "serve", "--port", str(free_port())],
        cwd=deployment.log.parent,  # where no .env is
        env=os.environ | deployment.variables | {name: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert name in result.stderr
    assert not value or value not in result.stderr or name == "MAX_BATCH"


def kill_and_see_nobody_answer(server: Server) -> None:
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            server.http.get("/health/live")
        except httpx.TransportError:
            return
        time.sleep(0.1)
    os.killpg(server.process.pid, signal.SIGKILL)
    raise AssertionError("a process that it started still answers")


def test_workers_do_not_outlive_the_server(deployment: Deployment) -> None:
    with deployment.serve() as server:
        kill_and_see_nobody_answer(server)


def test_a_server_does_not_outlive_the_program_that_started_it(deployment: Deployment) -> None:
    port = str(free_port())
    program = (
        "import os, subprocess, sys; cbp, port = sys.argv[1:]; "
        "subprocess.run([cbp, 'serve', '--port', port, '--parent', str(os.getpid())])"
    )
    command = ("python", "-c", program, str(PROGRAMS / "cbp"), port)
    with deployment.start(*command, url=f"http://127.0.0.1:{port}") as server:
        kill_and_see_nobody_answer(server)
