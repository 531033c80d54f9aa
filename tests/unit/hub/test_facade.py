# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from plait.errors import BadInput, NotFound
from plait.hub import Hub, migrations
from plait.hub.database import Base, BlobGrant
from plait.settings import MARKER, load_settings

from .conftest import World


def test_a_new_folder_becomes_a_hub_and_is_opened_again(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "new" / "hub", {})
    with Hub.open(settings) as hub:
        hub.accounts.create_user("ann")
        secret = hub.secret
    with Hub.open(settings) as hub:
        assert hub.accounts.get("ANN").name == "ann"
        assert hub.secret == secret
    assert (settings.dir / MARKER).is_file()
    assert stat.S_IMODE((settings.dir / "secret.key").stat().st_mode) == 0o600


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(BadInput, match=r"thesis\.tex"):
        Hub.open(load_settings(tmp_path, {}))
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(BadInput, match="is a file"):
        Hub.open(load_settings(tmp_path / "thesis.tex", {}))


def test_several_processes_may_make_the_same_hub_at_once(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from plait.hub import Hub\n"
        "from plait.settings import load_settings\n"
        "with Hub.open(load_settings(sys.argv[1], {})) as hub:\n"
        "    hub.accounts.create_user(sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "hub")]
    running = [subprocess.Popen([*command, f"user{n}"], stderr=subprocess.PIPE) for n in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    with Hub.open(load_settings(tmp_path / "hub", {})) as hub:
        assert len(hub.accounts.list_accounts()) == 3


def test_the_migrations_make_the_tables_that_the_code_uses(hub: Hub) -> None:
    with hub.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == migrations.HEAD


def test_the_newest_revision_is_the_one_named() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_a_database_of_a_newer_plait_is_refused(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "hub", {})
    with Hub.open(settings) as hub, hub.session(write=True) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadInput, match="9999"):
        Hub.open(settings)


def test_a_failed_block_writes_nothing(hub: Hub) -> None:
    with pytest.raises(ZeroDivisionError), hub.session(write=True) as session:
        session.add(BlobGrant(repository_id=1, sha256="0" * 64))
        raise ZeroDivisionError
    with hub.session() as session:
        assert session.query(BlobGrant).count() == 0


def test_a_writing_block_is_alone_from_its_start(hub: Hub) -> None:
    order: list[str] = []

    def other() -> None:
        with hub.session(write=True):
            order.append("second begins")

    with hub.session(write=True):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=0.3)
        order.append("first ends")
    thread.join()
    assert order == ["first ends", "second begins"]


def test_bytes_that_are_not_stored_cannot_be_granted(world: World) -> None:
    repo = world.repo()
    sha256, _ = world.hub.blobs.write([b"abc"])
    with pytest.raises(NotFound), world.hub.session(write=True) as session:
        world.hub.grant_blob(session, repo, "0" * 64)
    with pytest.raises(NotFound), world.hub.session(write=True) as session:
        world.hub.grant_blob(session, repo, sha256, 4)
    with world.hub.session(write=True) as session:
        world.hub.grant_blob(session, repo, sha256, 3)
        world.hub.grant_blob(session, repo, sha256)
    with world.hub.session() as session:
        assert world.hub.has_grant(session, repo, sha256)
        assert not world.hub.has_grant(session, repo, "0" * 64)
