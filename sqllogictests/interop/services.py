"""Starts and stops what the tests talk to: SeaweedFS, PostgreSQL, and Polynya servers, all on free ports of the loopback.

Programs come from the environment that `cargo xtask test` sets: POLYNYA_TEST_WEED, POLYNYA_TEST_PG_BIN, POLYNYA_BIN, POLYNYA_BENCH_BIN,
POLYNYA_EMBEDDED_BIN.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

KEY, SECRET, REGION = "interop", "interop-secret", "us-east-1"
WEED_PORTS = ["master", "filer", "volume", "admin", "s3", "s3.iceberg", "s3.lance"]
# Keys and certificates of the Rust tests: an authority, and a server's certificate for 127.0.0.1.
KEYS = pathlib.Path(__file__).parents[2] / "flight-server/tests/keys"


def program(variable):
    path = os.environ.get(variable)
    if not path:
        raise RuntimeError(f"{variable} is not set: run these tests with `cargo xtask test --only interop`")
    return path


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} within {seconds:.0f} s")
        time.sleep(0.1)


def free_port():
    """A port that nothing listens on, below the ephemeral range: no outgoing connection takes it before the service does."""
    return next(port for port in (random.randrange(22_000, 32_000) for _ in range(1000)) if not listens(port))


class Seaweed:
    """S3 with the bucket `lake`, and the Iceberg REST catalog of the warehouse s3://iceberg-tables."""

    def __init__(self, folder):
        self.folder, self.process = pathlib.Path(folder), None
        self.folder.mkdir(parents=True, exist_ok=True)
        # SeaweedFS puts the gRPC port of each service 10,000 above its HTTP port.
        base = next(
            base for base in (random.randrange(11_000, 21_000, 20) for _ in range(1000))
            if not any(listens(base + i) or listens(base + 10_000 + i) for i in range(len(WEED_PORTS)))
        )
        self.ports = {name: base + i for i, name in enumerate(WEED_PORTS)}
        self.start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def rest_uri(self):
        return f"http://127.0.0.1:{self.ports['s3.iceberg']}"

    def start(self):
        flags = {"master": "master.port", "filer": "filer.port", "volume": "volume.port", "admin": "admin.port",
                 "s3": "s3.port", "s3.iceberg": "s3.port.iceberg", "s3.lance": "s3.port.lance"}
        self.process = subprocess.Popen(
            [program("POLYNYA_TEST_WEED"), "mini", f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
             "-bucket=lake", "-tableBucket=iceberg-tables", "-s3.autoCreateBucket=false",
             "-master.telemetry=false", "-webdav=false", "-admin.ui=false",
             *(f"-{flags[name]}={port}" for name, port in self.ports.items())],
            env={**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
            stdin=subprocess.DEVNULL, stdout=open(self.folder / "weed.log", "ab"), stderr=subprocess.STDOUT, cwd=self.folder)
        wait_until(self.answers, "SeaweedFS did not answer")

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"SeaweedFS ended: {(self.folder / 'weed.log').read_text()[-2000:]}")
        return all(listens(self.ports[name]) for name in ("s3", "s3.iceberg")) and self.has_bucket()

    def has_bucket(self):
        import pyarrow.fs
        try:
            s3 = pyarrow.fs.S3FileSystem(access_key=KEY, secret_key=SECRET, region=REGION, endpoint_override=self.endpoint,
                                         request_timeout=2, connect_timeout=2)
            with s3.open_output_stream("lake/ready") as probe:
                probe.write(b"ready")
            return True
        except OSError:
            return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def s3_properties(self):
        return {"s3.endpoint": self.endpoint, "s3.region": REGION, "s3.access-key-id": KEY, "s3.secret-access-key": SECRET}


class Postgres:
    """A PostgreSQL server with one user and one database."""

    def __init__(self):
        self.bin = pathlib.Path(program("POLYNYA_TEST_PG_BIN"))
        self.port, self.process = free_port(), None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="polynya-pg-"))
        # PostgreSQL refuses to run as root; Debian's package brings a user for it.
        self.prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.prefix:
            shutil.chown(self.folder, "postgres")
        data = self.folder / "data"
        subprocess.run([*self.prefix, self.bin / "initdb", "--auth=trust", "--username=polynya", "--encoding=UTF8", "--no-sync",
                        "--pgdata", data], check=True, stdout=subprocess.DEVNULL, cwd="/")
        self.command = [*self.prefix, self.bin / "postgres", "-D", data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                        "-c", "unix_socket_directories=", "-c", "fsync=off"]
        self.start()

    @property
    def uri(self):
        return f"postgresql://polynya@127.0.0.1:{self.port}/postgres"

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, cwd="/")
        wait_until(lambda: listens(self.port), "PostgreSQL did not listen")

    def stop(self):
        if self.process and self.process.poll() is None:
            pids = (self.folder / "data/postmaster.pid").read_text().split()
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pids[0]), signal.SIGQUIT)
            self.process.wait(timeout=30)

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def toml(catalogs, **server):
    """A polynya.toml with these catalogs; a property with a dot is a quoted key."""

    def value(item):
        return str(item).lower() if isinstance(item, (bool, int)) else '"' + str(item).replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = "[server]\n" + "".join(f"{key} = {value(item)}\n" for key, item in server.items())
    for name, properties in catalogs.items():
        text += f"\n[catalog.{name}]\n"
        text += "".join(f'"{key}" = {value(item)}\n' for key, item in properties.items())
    return text


class Proxy:
    """`polynya-bench s3-proxy` before an S3 endpoint: counts, and fails as it is told."""

    def __init__(self, upstream, seed=7):
        port, control = free_port(), free_port()
        self.url, self.control = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{control}"
        self.process = subprocess.Popen([program("POLYNYA_BENCH_BIN"), "s3-proxy", "--upstream", upstream, "--listen", f"127.0.0.1:{port}",
                                         "--control", f"127.0.0.1:{control}", "--seed", str(seed)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: listens(port) and listens(control), "the proxy did not listen")

    def counters(self):
        """Counts since the last call."""
        with urllib.request.urlopen(self.control + "/") as answer:
            return json.load(answer)

    def faults(self, **settings):
        body = json.dumps(settings).encode()
        with urllib.request.urlopen(urllib.request.Request(self.control + "/faults", data=body)) as answer:
            return json.load(answer)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Polynya:
    """A server process, as a user starts it. `server` adds to that table of the settings; `sections` are further tables, such as cache;
    `client` has the options of ADBC's driver that the server wants to see."""

    def __init__(self, folder, catalogs, server=None, client=None, **sections):
        self.port, self.client = free_port(), client or {}
        self.url = f"{'grpc+tls' if 'server.tls' in sections else 'grpc'}://127.0.0.1:{self.port}"
        self.metrics_listen = (server or {}).get("metrics_listen")
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "polynya.toml"
        text = toml(catalogs, listen=f"127.0.0.1:{self.port}", default_catalog=next(iter(catalogs)), **(server or {}))
        for section, settings in sections.items():
            text += f"\n[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        self.config.write_text(text)
        self.log = self.folder / "polynya.log"
        self.start()

    def start(self):
        self.process = subprocess.Popen([program("POLYNYA_BIN"), "serve", "--config", self.config], stdin=subprocess.DEVNULL,
                                        stdout=open(self.log, "ab"), stderr=subprocess.STDOUT, cwd=self.folder)
        wait_until(self.answers, "polynya did not listen")

    def kill(self):
        """The process is gone at once, whatever it was doing."""
        self.process.kill()
        self.process.wait()

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def open_files(self):
        """Files and sockets that the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def metrics(self):
        """What Prometheus would read: values by name and labels. The settings must have `metrics_listen`."""
        with urllib.request.urlopen(f"http://{self.metrics_listen}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def is_at_rest(self):
        """Whether no query is under way, and none has left memory reserved."""
        metrics = self.metrics()
        under_way = sum(value for name, value in metrics.items() if name.startswith("polynya_queries{"))
        return under_way == 0 and metrics["polynya_memory_used_bytes"] == 0

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"polynya ended: {self.log.read_text()[-4000:]}")
        return listens(self.port)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    @contextlib.contextmanager
    def cursor(self):
        from adbc_driver_flightsql import dbapi
        cookies = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}  # USE and SET last for the session
        with dbapi.connect(self.url, db_kwargs={**cookies, **self.client}) as connection, connection.cursor() as cursor:
            yield cursor

    def table(self, sql):
        """A query's answer as an Arrow table."""
        with self.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def rows(self, sql):
        return [tuple(row.values()) for row in self.table(sql).to_pylist()]

    def run(self, *statements):
        with self.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)

    def bench(self, *arguments, seconds=600):
        done = subprocess.run([program("POLYNYA_BENCH_BIN"), "tpch", *arguments, "--url", self.url], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=seconds)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
        return done.stdout


class Secured(Polynya):
    """A server that asks who is calling, over TLS: the user ann has a password, the user robot a token (docs/security.md)."""

    def __init__(self, folder, catalogs, server=None):
        self.password, self.token, self.authority = secrets.token_hex(16), secrets.token_hex(24), KEYS / "ca.pem"
        users = pathlib.Path(folder) / "users"
        users.write_text(hashed("ann", self.password))
        self.trust = {"adbc.flight.sql.client_option.tls_root_certs": self.authority.read_text()}
        super().__init__(folder, catalogs, server, {**self.trust, "username": "ann", "password": self.password}, **{
            "auth": {"users_file": str(users)},
            "auth.token.robot": {"sha256": hashlib.sha256(self.token.encode()).hexdigest()},
            "server.tls": {"cert_file": str(KEYS / "server.pem"), "key_file": str(KEYS / "server.key.pem")},
        })


def hashed(user, password):
    """The line of a users' file, as an operator makes it."""
    done = subprocess.run([program("POLYNYA_BIN"), "hash-password", user], input=password + "\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Worker:
    """`polynya worker`, as an operator starts it; it comes back on the same port with the same cache."""

    def __init__(self, folder, secret):
        self.port, self.folder = free_port(), folder
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {"POLYNYA__WORKERS__SECRET": secret, "POLYNYA__CACHE__DISK_DIR": str(folder)}
        self.environment = {**{key: value for key, value in os.environ.items() if not key.startswith("POLYNYA__")}, **settings}
        self.start()

    def start(self):
        self.process = subprocess.Popen([program("POLYNYA_BIN"), "worker", "--listen", f"127.0.0.1:{self.port}"], env=self.environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder.parent)
        wait_until(lambda: listens(self.port), "a worker did not listen")

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0
