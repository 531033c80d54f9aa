# SPDX-License-Identifier: Apache-2.0
"""The command line: ``hf``, and ``huggingface-cli`` where there is one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from scene import FACTS, HOME, ME, VERSION, XET, api, done, noise

TOOLS = Path(FACTS["tools"])


def hf(*words: str, tool: str = "hf", status: int = 0, typed: str | None = None) -> str:
    found = subprocess.run(
        [str(TOOLS / tool), *words],
        capture_output=True,
        text=True,
        check=False,
        input=typed,
        cwd=HOME,
    )
    assert found.returncode == status, (words, found.stdout[-1500:], found.stderr[-2500:])
    return found.stdout + found.stderr


OLD = VERSION == "hf-0.36"
REPO = "repo" if OLD else "repos"
TYPE = "--repo-type"
assert ME in hf("auth", "whoami")
assert f"{ME}/tool" in hf(REPO, "create", "tool", TYPE, "dataset")
hf(REPO, "create", "tool", TYPE, "dataset", "--exist-ok")
assert "409" in hf(REPO, "create", "tool", TYPE, "dataset", status=1)
repo = f"{ME}/tool"

folder = HOME / "upload"
(folder / "deep").mkdir(parents=True)
(folder / "a.txt").write_text("a")
(folder / "deep" / "b.bin").write_bytes(noise(400_000))
(folder / "skip.log").write_text("log")
hf(
    "upload",
    repo,
    str(folder),
    ".",
    TYPE,
    "dataset",
    "--exclude",
    "*.log",
    "--commit-message",
    "By hand",
)
files = api.list_repo_files(repo, repo_type="dataset")
assert sorted(files) == [".gitattributes", "a.txt", "deep/b.bin"], files
hf("upload", repo, str(folder / "a.txt"), "again.txt", TYPE, "dataset")
hf("upload", repo, str(folder / "a.txt"), "offer.txt", TYPE, "dataset", "--create-pr")
assert [d.is_pull_request for d in api.get_repo_discussions(repo, repo_type="dataset")] == [True]

path = hf("download", repo, "a.txt", TYPE, "dataset")
assert "a.txt" in path
hf("download", repo, TYPE, "dataset", "--local-dir", str(HOME / "down"), "--include", "deep/*")
assert (HOME / "down" / "deep" / "b.bin").read_bytes() == noise(400_000)
hf("download", f"{ME}/nothing", status=1)

if OLD:
    hf("repo-files", "delete", repo, "again.txt", TYPE, "dataset")
    assert ME in hf("whoami", tool="huggingface-cli")
    hf("upload", repo, str(folder / "a.txt"), "c.txt", TYPE, "dataset", tool="huggingface-cli")
    hf("download", repo, "c.txt", TYPE, "dataset", tool="huggingface-cli")
else:
    hf("repos", "delete-files", repo, "again.txt", TYPE, "dataset")
assert not api.file_exists(repo, "again.txt", repo_type="dataset")

# The rest moves no large file: Xet has no part in it.
if XET:
    hf(REPO, "tag", "create", repo, "v1", TYPE, "dataset", "-m", "First")
    assert "v1" in hf(REPO, "tag", "list", repo, TYPE, "dataset")
    hf(REPO, "tag", "delete", repo, "v1", TYPE, "dataset", "-y")
    assert api.list_repo_refs(repo, repo_type="dataset").tags == []
if XET and not OLD:
    hf("repos", "branch", "create", repo, "dev", TYPE, "dataset")
    assert "dev" in [b.name for b in api.list_repo_refs(repo, repo_type="dataset").branches]
    hf("repos", "branch", "delete", repo, "dev", TYPE, "dataset")
    hf("repos", "settings", repo, TYPE, "dataset", "--gated", "auto")
    assert api.dataset_info(repo).gated == "auto"
    hf("repos", "settings", repo, TYPE, "dataset", "--gated", "false")
    assert repo in hf("datasets", "ls", "--author", ME, "-q")
    assert "a.txt" in hf("datasets", "ls", repo)
    assert '"id"' in hf("datasets", "info", repo, "--format", "json")
    hf("discussions", "create", repo, "--title", "Typed", "--body", "Text", TYPE, "dataset")
    assert "Typed" in hf("discussions", "list", repo, TYPE, "dataset")
    hf("discussions", "comment", repo, "2", "--body", "More", TYPE, "dataset")
    hf("discussions", "close", repo, "2", TYPE, "dataset", "-y")
    talk = api.get_discussion_details(repo, 2, repo_type="dataset")
    assert talk.status == "closed" and "More" in [
        e.content for e in talk.events if e.type == "comment"
    ]
    hf("discussions", "merge", repo, "1", TYPE, "dataset", "-y")
    assert api.file_exists(repo, "offer.txt", repo_type="dataset")
    hf("repos", "duplicate", repo, f"{ME}/tool-copy", TYPE, "dataset")
    assert api.file_exists(f"{ME}/tool-copy", "a.txt", repo_type="dataset")
    hf("repos", "move", f"{ME}/tool-copy", f"{ME}/tool-moved", TYPE, "dataset")
    hf("cp", f"hf://datasets/{repo}/a.txt", str(HOME / "copied.txt"))
    assert (HOME / "copied.txt").read_text() == "a"
    said = hf("collections", "create", "Typed shelf")
    slug = next(
        word.split("/collections/")[-1].strip('",')
        for word in said.split()
        if "typed-shelf-" in word
    )
    hf("collections", "add-item", slug, repo, "dataset")
    assert repo in hf("collections", "info", slug)
    hf("collections", "delete", slug)
    hf("webhooks", "create", "--url", "https://hooks.example.org/x", "--watch", f"dataset:{repo}")
    hook = next(iter(api.list_webhooks()))
    assert hook.id in hf("webhooks", "list", "-q")
    hf("webhooks", "disable", hook.id)
    hf("cache", "verify", repo, TYPE, "dataset")
    hf("repos", "delete", f"{ME}/tool-moved", TYPE, "dataset", "-y")
    assert not api.repo_exists(f"{ME}/tool-moved", repo_type="dataset")
hf("env")
done()
