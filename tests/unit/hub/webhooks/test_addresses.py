# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ipaddress
import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.hub.webhooks.addresses import (
    AddressRefused,
    check_address,
    is_public,
    look_up,
    resolve,
)
from plait.hub.webhooks.sending import Outcome, send_message
from plait.settings import Settings

from .receiver import receiving

SETTINGS = Settings(Path("/nowhere"))
LOOSE = replace(SETTINGS, webhook_http=1)


def names(*answers: str):  # type: ignore[no-untyped-def]
    async def resolver(host: str, port: int) -> list[str]:
        return list(answers)

    return resolver


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "//example.org",
        "https://user:secret@example.org/",
        "https://user@example.org/",
        "https://example.org:22/",
        "https://example.org:99999/",
        "https://example.org:-1/",
        "https://exa mple.org/",
        "https://example.org/\r\nHost: x",
        "https://example.org\\@127.0.0.1/",
        "https://éxample.org/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::1",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://0.0.0.0/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://" + "a" * 300 + ".org/",
        "https://example.org/" + "a" * 3000,
    ],
)
def test_addresses_that_are_refused_as_written(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(url, SETTINGS)


@pytest.mark.parametrize(
    "number",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "168.63.129.16",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:a9fe:a9fe::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_numbers_inside_networks(number: str) -> None:
    assert not is_public(ipaddress.ip_address(number))
    with pytest.raises(AddressRefused):
        anyio.run(resolve, check_address("https://x.org", SETTINGS), SETTINGS, names(number))


@pytest.mark.parametrize(
    "number", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"]
)
def test_numbers_of_the_world(number: str) -> None:
    assert is_public(ipaddress.ip_address(number))


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(number: ipaddress.IPv4Address) -> None:
    if number.is_private or number.is_loopback or number.is_link_local or number.is_multicast:
        hidden = getattr(number, "ipv4_mapped", None)
        assert not is_public(number) or hidden is not None


def test_one_inner_address_among_others_refuses_all() -> None:
    target = check_address("https://x.org", SETTINGS)
    with pytest.raises(AddressRefused):
        anyio.run(resolve, target, SETTINGS, names("8.8.8.8", "10.0.0.1"))
    with pytest.raises(OSError):
        anyio.run(resolve, target, SETTINGS, names())


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
def test_other_forms_of_this_machine_are_seen_through(host: str) -> None:
    with receiving() as receiver:
        url = f"http://{host}:{receiver.port}/"
        outcome = anyio.run(send_message, url, b"{}", {}, LOOSE)
        assert outcome.status is None
        assert not receiver.got


def test_the_operator_may_list_hosts_and_networks() -> None:
    for allowed in ("127.0.0.1", "127.0.0.0/8", "ci.example.org, 127.0.0.1", "hooks.test"):
        settings = replace(LOOSE, webhook_hosts=allowed)
        with receiving() as receiver:
            name = "hooks.test" if allowed == "hooks.test" else "127.0.0.1"
            outcome = anyio.run(
                lambda settings=settings, port=receiver.port, name=name: send_message(
                    f"http://{name}:{port}/path?q=1",
                    b"{}",
                    {"X-One": "1"},
                    settings,
                    resolver=names("127.0.0.1"),
                )
            )
            assert (outcome.status, outcome.answer) == (200, "thanks")
            path, headers, body = receiver.got[0]
            assert (path, headers["Host"], body) == (
                "/path?q=1",
                f"{name}:{receiver.port}",
                b"{}",
            )
            assert headers["X-One"] == "1"


def test_the_name_is_asked_once_and_its_answer_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name leads elsewhere when asked again, as a rebinding attacker would have it."""
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    settings = replace(LOOSE, webhook_hosts="127.0.0.1")
    with receiving() as receiver:
        url = f"http://rebinding.test:{receiver.port}/"
        outcome = anyio.run(lambda: send_message(url, b"{}", {}, settings, resolver=rebinding))
        assert outcome.arrived
        assert asked == ["rebinding.test"]
        # The next message asks anew, and what it is told now is refused.
        outcome = anyio.run(lambda: send_message(url, b"{}", {}, settings, resolver=rebinding))
        assert outcome.status is None
        assert "inside a network" in outcome.answer
        assert len(receiver.got) == 1


def test_redirects_are_not_followed_and_answers_are_bounded() -> None:
    settings = replace(LOOSE, webhook_hosts="127.0.0.1", webhook_timeout=2)
    with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        receiver.answer = lambda: (302, {"Location": "http://169.254.169.254/latest/"}, b"")
        outcome = anyio.run(send_message, url, b"{}", {}, settings)
        assert (outcome.status, outcome.arrived, len(receiver.got)) == (302, False, 1)
        receiver.answer = lambda: (200, {}, b"x" * 50_000_000)
        outcome = anyio.run(send_message, url, b"{}", {}, settings)
        assert outcome.arrived
        assert len(outcome.answer) == 1000


def test_a_receiver_that_drips_is_left() -> None:
    import socket
    import threading
    import time

    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Long: y\r\n" * 1000:
                    connection.send(bytes([byte]))
                    time.sleep(0.05)
            except OSError:
                pass

    threading.Thread(target=drip, daemon=True).start()
    settings = replace(LOOSE, webhook_hosts="127.0.0.1", webhook_timeout=1)
    start = time.monotonic()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    outcome = anyio.run(send_message, url, b"{}", {}, settings)
    listener.close()
    assert outcome.status is None
    assert time.monotonic() - start < 2.5


@given(st.text(max_size=100))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://x.org{text}", f"https://[{text}]/"):
        try:
            target = check_address(url, SETTINGS)
        except AddressRefused:
            continue
        assert target.secure
        assert target.host.isascii()


def test_the_system_resolver_answers_with_numbers() -> None:
    found = anyio.run(look_up, "127.0.0.1", 80)
    assert found == ["127.0.0.1"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ``hooks.test`` that nobody but the tests trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=hooks.test", "-addext", "subjectAltName=DNS:hooks.test"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


def test_the_certificate_must_be_for_the_name_although_the_number_is_pinned(
    certificate: tuple[Path, Path],
) -> None:
    asked: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    settings = replace(SETTINGS, webhook_hosts="127.0.0.1", webhook_timeout=5)
    with receiving(server) as receiver:

        def send(name: str, tls: ssl.SSLContext | None) -> Outcome:
            url = f"https://{name}:{receiver.port}/"
            return anyio.run(
                lambda: send_message(url, b"{}", {}, settings, resolver=names("127.0.0.1"), tls=tls)
            )

        assert send("hooks.test", trusting).arrived
        assert asked == ["hooks.test"]
        assert send("other.test", trusting).status is None
        assert send("hooks.test", None).status is None
        assert len(receiver.got) == 1
