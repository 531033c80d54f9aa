# SPDX-License-Identifier: Apache-2.0
"""The real ``git`` and ``git-lfs`` against a running hub: clone, fetch and push with a token."""

from __future__ import annotations

import gzip
import os
import random
import secrets
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from integration.live import LiveHub, Person
from plait.hub.upkeep.fsck import damage

noise = random.Random(5).randbytes
KINDS = {"model": "", "dataset": "datasets/", "space": "spaces/"}


class Git:
    """One person's git in a folder of its own."""

    def __init__(self, person: Person | None, hub: LiveHub, home: Path) -> None:
        self.person, self.hub, self.home = person, hub, home
        home.mkdir(exist_ok=True)
        (home / ".gitconfig").write_text(
            "[user]\n name = x\n email = x@example.org\n"
            '[filter "lfs"]\n clean = git-lfs clean -- %f\n smudge = git-lfs smudge -- %f\n'
            " process = git-lfs filter-process\n required = true\n"
            "[init]\n defaultBranch = main\n[credential]\n helper = store\n"
        )
        if person is not None:
            address = hub.url.removeprefix("http://")
            (home / ".git-credentials").write_text(
                f"http://{person.name}:{person.token}@{address}\n"
            )

    def __call__(self, *arguments: str | Path, cwd: Path | None = None, fails: bool = False) -> str:
        done = subprocess.run(
            ["git", *map(str, arguments)],
            cwd=cwd or self.home,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_CONFIG_NOSYSTEM": "1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def url(self, repo: str, kind: str = "model") -> str:
        return f"{self.hub.url}/{KINDS[kind]}{repo}"

    def clone(self, repo: str, *options: str, kind: str = "model", lfs: bool = False) -> Path:
        folder = self.home / f"{repo.split('/')[1]}-{secrets.token_hex(3)}"
        self("clone", "-q", *options, self.url(repo, kind), folder)
        if lfs:
            self("lfs", "install", "--local", cwd=folder)
        return folder

    def commit(self, folder: Path, files: dict[str, bytes], message: str = "change") -> str:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        self("add", "-A", cwd=folder)
        self("commit", "-q", "-m", message, cwd=folder)
        return self("rev-parse", "HEAD", cwd=folder).strip()


@pytest.fixture
def git_a(alice: Person, live_hub: LiveHub, tmp_path: Path) -> Git:
    return Git(alice, live_hub, tmp_path / "a")


@pytest.fixture
def git_b(bob: Person, live_hub: LiveHub, tmp_path: Path) -> Git:
    return Git(bob, live_hub, tmp_path / "b")


@pytest.fixture
def nobody(live_hub: LiveHub, tmp_path: Path) -> Git:
    return Git(None, live_hub, tmp_path / "nobody")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_clone_commit_push_pull(git_a: Git, nobody: Git, alice: Person, kind: str) -> None:
    extra: Any = {"space_sdk": "static"} if kind == "space" else {}
    repo = alice.api.create_repo(f"{alice.name}/r", repo_type=kind, **extra).repo_id
    work = git_a.clone(repo, kind=kind, lfs=True)
    weights = noise(300_000)
    new = git_a.commit(work, {"a/b.txt": b"text\n", "w.safetensors": weights})
    assert "w.safetensors" in git_a("lfs", "ls-files", cwd=work)
    said = git_a("push", "origin", "main", cwd=work)
    assert "locking" not in said.lower()
    api = alice.api
    assert api.repo_info(repo, repo_type=kind).sha == new
    got = api.hf_hub_download(repo, "w.safetensors", repo_type=kind)
    assert Path(got).read_bytes() == weights
    # Without a token, and with the name written as git likes it.
    other = nobody.clone(f"{repo}.git", kind=kind, lfs=True)
    assert (other / "w.safetensors").read_bytes() == weights
    api.upload_file(
        path_or_fileobj=b"from the API",
        path_in_repo="api.txt",
        repo_id=repo,
        repo_type=kind,
    )
    git_a("pull", "-q", "origin", "main", cwd=work)
    assert (work / "api.txt").read_bytes() == b"from the API"
    git_a("fsck", "--strict", cwd=work)


def test_parts_of_a_repository(git_a: Git, nobody: Git, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/parts").repo_id
    work = git_a.clone(repo)
    for number in range(4):
        new = git_a.commit(work, {f"f{number}": noise(50_000), "last": b"%d" % number})
    git_a("push", "-q", "origin", "main", cwd=work)
    shallow = nobody.clone(repo, "--depth", "2")
    assert nobody("rev-list", "--count", "HEAD", cwd=shallow).strip() == "2"
    nobody("fetch", "-q", "--unshallow", cwd=shallow)
    assert nobody("rev-list", "--count", "HEAD", cwd=shallow).strip() == "5"
    partial = nobody.clone(repo, "--filter=blob:none", "--no-checkout")
    assert "?" in nobody("rev-list", "--objects", "--missing=print", "HEAD", cwd=partial)
    nobody("checkout", "-q", "main", cwd=partial)
    assert (partial / "last").read_bytes() == b"3"
    treeless = nobody.clone(repo, "--filter=tree:0", "--sparse")
    assert nobody("rev-parse", "HEAD", cwd=treeless).strip() == new
    old = nobody.clone(repo, "-c", "protocol.version=0")
    assert nobody("rev-parse", "HEAD", cwd=old).strip() == new
    one = nobody.clone(repo, "--depth", "1")
    nobody("fetch", "-q", "--depth", "1", "origin", f"{new}~2", cwd=one, fails=True)
    parent = nobody("rev-parse", f"{new}~2", cwd=old).strip()
    nobody("fetch", "-q", "--depth", "1", "origin", parent, cwd=one)
    # A shallow clone pushes as well.
    mine = git_a.clone(repo, "--depth", "1")
    pushed = git_a.commit(mine, {"f9": b"9"})
    git_a("push", "-q", "origin", "main", cwd=mine)
    assert alice.api.model_info(repo).sha == pushed


def test_what_is_private_does_not_exist(
    git_a: Git, git_b: Git, nobody: Git, alice: Person, bob: Person, live_hub: LiveHub
) -> None:
    repo = alice.api.create_repo(f"{alice.name}/secret", private=True).repo_id
    git_a.clone(repo)
    missing = f"{alice.name}/no-such"
    told = []
    for name in (repo, missing):
        assert "not found" in git_b("ls-remote", git_b.url(name), fails=True)
        # git asks for a password, whether there is something or not.
        assert "could not read Username" in nobody("ls-remote", nobody.url(name), fails=True)
        for service in ("git-upload-pack", "git-receive-pack"):
            answers = [
                httpx.get(f"{live_hub.url}/{name}/info/refs", params={"service": service}),
                httpx.post(
                    f"{live_hub.url}/{name}/{service}",
                    headers={"Content-Type": f"application/x-{service}-request"},
                    auth=("x", bob.token),
                ),
            ]
            told.append(
                [(a.status_code, a.headers.get("www-authenticate"), a.text) for a in answers]
            )
    plain = [[(s, w, t.replace("secret", "no-such")) for s, w, t in row] for row in told]
    assert plain[:2] == plain[2:]
    assert plain[0][0][:2] == (401, 'Basic realm="plait"')
    assert plain[0][1][0] == 404


def test_gated_files_are_fetched_by_those_who_were_let_in(
    git_a: Git, git_b: Git, nobody: Git, alice: Person, bob: Person
) -> None:
    repo = alice.api.create_repo(f"{alice.name}/gated").repo_id
    alice.api.update_repo_settings(repo, gated="manual")
    git_a.clone(repo)
    assert "403" in git_b("clone", git_b.url(repo), "x", fails=True)
    assert "could not read Username" in nobody("clone", nobody.url(repo), "x", fails=True)
    alice.api.grant_access(repo, bob.name)
    git_b.clone(repo)


def test_roles_and_scopes(
    git_a: Git, git_b: Git, alice: Person, bob: Person, live_hub: LiveHub
) -> None:
    repo = alice.api.create_repo(f"{alice.name}/open").repo_id
    work = git_b.clone(repo)
    new = git_b.commit(work, {"b.txt": b"b"}, "A proposal")
    assert "You may not" in git_b("push", "origin", "main", cwd=work, fails=True)
    said = git_b("push", "origin", "HEAD:refs/for/main", cwd=work)
    assert f"/{repo}/discussions/1" in said
    assert alice.api.get_discussion_details(repo, 1).title == "A proposal"
    more = git_b.commit(work, {"c.txt": b"c"})
    git_b("push", "-q", "origin", "HEAD:refs/pr/1", cwd=work)
    assert git_a("ls-remote", git_a.url(repo), "refs/pr/1").split()[0] == more
    mine = git_a.clone(repo)
    git_a("fetch", "-q", "origin", "refs/pr/1:pr", cwd=mine)
    alice.api.merge_pull_request(repo, 1)
    git_a("pull", "-q", "origin", "main", cwd=mine)
    assert (mine / "c.txt").exists()
    assert new in git_a("log", "--format=%H", cwd=mine)
    bob.token = live_hub.token(bob, scope="read")
    reader = Git(bob, live_hub, git_b.home.parent / "reader")
    work = reader.clone(repo)
    reader.commit(work, {"d.txt": b"d"})
    assert "403" in reader("push", "origin", "HEAD:refs/for/main", cwd=work, fails=True)


def test_large_files_without_lfs_and_pointers_without_bytes(git_a: Git, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/big").repo_id
    work = git_a.clone(repo)
    git_a.commit(work, {".gitattributes": b"", "big.dat": noise(11 * 2**20)})
    said = git_a("push", "origin", "main", cwd=work, fails=True)
    assert "git lfs migrate import" in said
    work = git_a.clone(repo)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 5\n"
    git_a.commit(work, {"x.dat": pointer.encode()})
    said = git_a("push", "origin", "main", cwd=work, fails=True)
    assert "were not uploaded" in said


def test_history_can_be_rewritten_by_those_who_may(git_a: Git, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/rewrite").repo_id
    work = git_a.clone(repo)
    git_a.commit(work, {"a": b"1"})
    git_a("push", "-q", "origin", "main", "HEAD:refs/heads/dev", cwd=work)
    git_a("commit", "-q", "--amend", "-m", "other words", cwd=work)
    git_a("push", "-q", "--force", "origin", "main", cwd=work)
    git_a("tag", "-a", "v1", "-m", "one", cwd=work)
    git_a("push", "-q", "--atomic", "origin", "v1", ":dev", cwd=work)
    refs = alice.api.list_repo_refs(repo)
    assert [tag.name for tag in refs.tags] == ["v1"]
    assert [branch.name for branch in refs.branches] == ["main"]
    assert alice.api.list_repo_commits(repo)[0].title == "other words"
    assert "Cannot delete" in git_a("push", "origin", ":main", cwd=work, fails=True)


def test_moved_repositories_are_found_under_their_old_name(git_a: Git, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/before").repo_id
    work = git_a.clone(repo, lfs=True)
    alice.api.move_repo(repo, f"{alice.name}/after")
    new = git_a.commit(work, {"a": b"1", "w.bin": noise(5000)})
    git_a("push", "-q", "origin", "main", cwd=work)
    git_a.clone(repo, lfs=True)
    assert alice.api.model_info(f"{alice.name}/after").sha == new


def test_requests_that_no_git_sends(alice: Person, live_hub: LiveHub) -> None:
    repo = alice.api.create_repo(f"{alice.name}/odd").repo_id
    url = f"{live_hub.url}/{repo}"
    client = httpx.Client(auth=("x", alice.token))
    assert client.get(f"{url}/info/refs").status_code == 400
    assert client.get(f"{url}/info/refs?service=git-evil").status_code == 400
    for service in ("git-upload-pack", "git-receive-pack"):
        kind = {"Content-Type": f"application/x-{service}-request"}
        assert client.post(f"{url}/{service}", content=b"0000").status_code == 400
        zipped = {**kind, "Content-Encoding": "gzip"}
        for body in (b"no gzip", gzip.compress(b"0032want")[:-9]):
            assert client.post(f"{url}/{service}", headers=zipped, content=body).status_code == 400
        odd = {**kind, "Content-Encoding": "br"}
        assert client.post(f"{url}/{service}", headers=odd, content=b"").status_code == 400
    kind = {"Content-Type": "application/x-git-receive-pack-request"}
    assert client.post(f"{url}/git-receive-pack", headers=kind, content=b"zz").status_code == 400
    bomb = gzip.compress(b"\0" * 40 * 2**20)
    zipped = {
        "Content-Type": "application/x-git-upload-pack-request",
        "Content-Encoding": "gzip",
    }
    assert client.post(f"{url}/git-upload-pack", headers=zipped, content=bomb).status_code == 413
    whole = gzip.compress(b"0000")
    zipped["Content-Type"] = "application/x-git-receive-pack-request"
    done = client.post(f"{url}/git-receive-pack", headers=zipped, content=whole)
    assert (done.status_code, done.content) == (200, b"")


def test_a_bad_token_is_told_from_none(live_hub: LiveHub, alice: Person, tmp_path: Path) -> None:
    repo = alice.api.create_repo(f"{alice.name}/r").repo_id
    alice.token = "plait_wrong"
    wrong = Git(alice, live_hub, tmp_path / "wrong")
    work = wrong.clone(repo)  # reading needs none
    assert "Authentication failed" in wrong("push", "origin", "main:x", cwd=work, fails=True)


def test_two_push_at_one_time(git_a: Git, alice: Person, live_hub: LiveHub) -> None:
    repo = alice.api.create_repo(f"{alice.name}/race").repo_id
    clones = [git_a.clone(repo) for _ in range(4)]
    for number, folder in enumerate(clones):
        git_a.commit(folder, {f"f{number}": b"x"})
    running = [
        subprocess.Popen(
            ["git", "push", "-q", "origin", "main"],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(git_a.home),
                "GIT_TERMINAL_PROMPT": "0",
            },
            stderr=subprocess.DEVNULL,
        )
        for folder in clones
    ]
    assert sorted(process.wait(60) for process in running).count(0) == 1
    assert len(alice.api.list_repo_commits(repo)) == 2
    found = live_hub.hub.repositories.find("model", repo)
    assert found is not None
    assert [p for p in damage(live_hub.hub) if repo in str(p)] == []
