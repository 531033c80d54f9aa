# SPDX-License-Identifier: Apache-2.0
"""The nginx configuration that we ship, in front of a real server."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from integration.live import LiveHub, Person, Server
from plait.hub import Hub
from plait.settings import load_settings

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
LARGE = 12 * 2**20


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configuration(folder: Path, blobs: Path, port: int, server: int) -> str:
    """The shipped file on free ports, without TLS, as an unprivileged nginx reads it."""
    text = SHIPPED.read_text()
    first = text.index("server {\n    listen 80;")
    second = text.index("server {\n    listen 443")
    text = text[:first] + text[second:]
    text = re.sub(r"\s+(listen \[::\]|ssl_certificate|ssl_certificate_key)[^;]*;", "", text)
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = text.replace("127.0.0.1:7860", f"127.0.0.1:{server}")
    text = text.replace("/var/lib/plait/blobs/", f"{blobs}/")
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.getuid() == 0 else ""
    return (
        f"{user}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{text}\n}}\n"
    )


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """A hub whose clients know it by nginx's address alone."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    folder = tmp_path_factory.mktemp("nginx")
    port = _free_port()
    server = Server(
        folder / "hub",
        PLAIT_PUBLIC_URL=f"http://127.0.0.1:{port}",
        PLAIT_ACCEL_REDIRECT="/_plait_blobs",
        PLAIT_TRUSTED_PROXIES="127.0.0.1",
    )
    server.port = _free_port()
    server.start()
    configuration = folder / "nginx.conf"
    configuration.write_text(_configuration(folder, folder / "hub" / "blobs", port, server.port))
    subprocess.run(
        [nginx, "-t", "-q", "-c", str(configuration)], check=True, stderr=subprocess.PIPE
    )
    process = subprocess.Popen([nginx, "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        settings = load_settings(
            folder / "hub", {}, public_url=f"http://127.0.0.1:{port}"
        ).with_address("127.0.0.1", server.port)
        with Hub.open(settings) as hub:
            server.url = settings.url
            yield LiveHub(server, hub, tmp_path_factory.mktemp("homes"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        server.stop()


@pytest.fixture
def carol(proxied: LiveHub) -> Person:
    return proxied.person("carol")


def _private_file(carol: Person, tmp_path: Path) -> tuple[str, bytes]:
    """Upload a large file by LFS into a private repository; return its name and bytes."""
    name = f"{carol.name}/m{secrets.token_hex(3)}"
    data = secrets.token_bytes(LARGE)
    source = tmp_path / "model.bin"
    source.write_bytes(data)
    carol.run(
        """
        import sys
        from huggingface_hub import HfApi
        api = HfApi()
        api.create_repo(sys.argv[1], private=True)
        api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo="model.bin", repo_id=sys.argv[1])
        """,
        name,
        str(source),
        HF_HUB_DISABLE_XET="1",
    )
    return name, data


def test_large_files_travel_through_nginx_and_are_sent_by_it(
    proxied: LiveHub, carol: Person, tmp_path: Path
) -> None:
    name, data = _private_file(carol, tmp_path)
    got = carol.run(
        """
        import sys
        from huggingface_hub import hf_hub_download
        print(hf_hub_download(sys.argv[1], "model.bin"))
        """,
        name,
        HF_HUB_DISABLE_XET="1",
    )
    assert Path(got.strip()).read_bytes() == data
    address = f"/{name}/resolve/main/model.bin"
    headers = {"Authorization": f"Bearer {carol.token}"}
    part = urlopen(Request(proxied.url + address, headers={**headers, "Range": "bytes=1000-1999"}))
    assert part.status == 206
    assert part.read() == data[1000:2000]
    assert "x-accel-redirect" not in {key.lower() for key in part.headers}
    # Behind nginx the server itself only says which file it is.
    direct = urlopen(Request(f"http://127.0.0.1:{proxied.server.port}{address}", headers=headers))
    assert direct.headers["X-Accel-Redirect"].startswith("/_plait_blobs/")
    assert direct.read() == b""


def test_nobody_reaches_the_blobs_but_through_the_hub(
    proxied: LiveHub, carol: Person, tmp_path: Path
) -> None:
    name, _ = _private_file(carol, tmp_path)
    address = f"/{name}/resolve/main/model.bin"
    headers = {"Authorization": f"Bearer {carol.token}"}
    direct = urlopen(Request(f"http://127.0.0.1:{proxied.server.port}{address}", headers=headers))
    for path in (direct.headers["X-Accel-Redirect"], address):
        with pytest.raises(HTTPError) as refused:
            urlopen(proxied.url + path)
        assert refused.value.code in (401, 404)


def test_encoded_revisions_and_xet_pass(proxied: LiveHub, carol: Person, tmp_path: Path) -> None:
    name = f"{carol.name}/m{secrets.token_hex(3)}"
    source = tmp_path / "big.bin"
    source.write_bytes(secrets.token_bytes(LARGE))
    got = carol.run(
        """
        import sys
        from huggingface_hub import HfApi, hf_hub_download
        api = HfApi()
        api.create_repo(sys.argv[1])
        found = api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo="a/b c.bin",
                                repo_id=sys.argv[1], create_pr=True)
        print(hf_hub_download(sys.argv[1], "a/b c.bin", revision="refs/pr/1"))
        """,
        name,
        str(source),
    )
    assert Path(got.strip()).read_bytes() == source.read_bytes()
