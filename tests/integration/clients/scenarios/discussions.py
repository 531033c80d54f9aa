# SPDX-License-Identifier: Apache-2.0
"""Discussions and pull requests in every state."""

from __future__ import annotations

from huggingface_hub import CommitOperationAdd
from scene import ME, OTHER, api, done, nobody, other, refused

repo = api.create_repo(f"{ME}/talk").repo_id
api.upload_file(path_or_fileobj=b"one\ntwo\nthree\n", path_in_repo="a.txt", repo_id=repo)

# A discussion: comments, edits, hides, titles, status.
talk = other.create_discussion(repo, title="A question", description="How large?")
assert (talk.num, talk.status, talk.is_pull_request, talk.author) == (1, "open", False, OTHER)
assert talk.events[0].content == "How large?" and talk.repo_id == repo
comment = api.comment_discussion(repo, talk.num, comment="**Small**")
assert comment.content == "**Small**" and comment.author == ME and not comment.edited
edited = api.edit_discussion_comment(repo, talk.num, comment.id, new_content="Tiny")
assert edited.content == "Tiny" and edited.edited
refused(403, other.edit_discussion_comment, repo, talk.num, comment.id, new_content="Huge")
mine = other.comment_discussion(repo, talk.num, comment="To be hidden")
hidden = api.hide_discussion_comment(repo, talk.num, mine.id)
assert hidden.hidden
renamed = api.rename_discussion(repo, talk.num, new_title="A better question")
assert (renamed.old_title, renamed.new_title) == ("A question", "A better question")
closed = api.change_discussion_status(repo, talk.num, "closed", comment="Answered")
assert closed.new_status == "closed"
details = other.get_discussion_details(repo, talk.num)
assert (details.status, details.title) == ("closed", "A better question")
kinds = [event.type for event in details.events]
assert kinds.count("status-change") == 1 and kinds.count("title-change") == 1
said = [event.content for event in details.events if event.type == "comment" and not event.hidden]
assert "Tiny" in said and "How large?" in said and "Answered" in said, said
assert "To be hidden" not in said
api.change_discussion_status(repo, talk.num, "open")
refused(
    403,
    other.rename_discussion,
    repo,
    api.create_discussion(repo, title="Mine only").num,
    new_title="Not yours",
)
refused(401, nobody.create_discussion, repo, title="From nobody")
refused(404, api.get_discussion_details, repo, 99)

# A pull request from a stranger: draft, open, merged.
offer = other.create_pull_request(repo, title="Draft it", description="Soon")
assert (offer.status, offer.is_pull_request, offer.author) == ("draft", True, OTHER)
assert offer.git_reference == f"refs/pr/{offer.num}" and offer.target_branch == "refs/heads/main"
commit = other.create_commit(
    repo,
    [CommitOperationAdd("b.txt", b"offered\n")],
    commit_message="Add b",
    revision=offer.git_reference,
)
assert api.change_discussion_status(repo, offer.num, "open").new_status == "open"
details = api.get_discussion_details(repo, offer.num)
assert "+offered" in details.diff and not details.conflicting_files
assert [e.oid for e in details.events if e.type == "commit"] == [commit.oid]
assert details.merge_commit_oid is None
refused(403, other.merge_pull_request, repo, offer.num)
api.merge_pull_request(repo, offer.num, comment="Thank you")
details = api.get_discussion_details(repo, offer.num)
assert details.status == "merged" and details.merge_commit_oid == api.model_info(repo).sha
assert "Thank you" in [e.content for e in details.events if e.type == "comment"]
assert api.file_exists(repo, "b.txt")
for status in (400, 403, 409):
    try:
        refused(status, api.merge_pull_request, repo, offer.num)
        break
    except AssertionError:
        if status == 409:
            raise

# A conflict is named and refused.
clash = other.create_commit(
    repo,
    [CommitOperationAdd("a.txt", b"one\nOTHER\nthree\n")],
    commit_message="Change two",
    commit_description="Their way",
    create_pr=True,
)
api.upload_file(path_or_fileobj=b"one\nMINE\nthree\n", path_in_repo="a.txt", repo_id=repo)
details = api.get_discussion_details(repo, clash.pr_num)
assert details.status == "open" and details.conflicting_files == ["a.txt"], details
refused(409, api.merge_pull_request, repo, clash.pr_num)
api.change_discussion_status(repo, clash.pr_num, "closed", comment="Another time")
assert api.get_discussion_details(repo, clash.pr_num).status == "closed"

# Lists with every filter.
every = list(api.get_repo_discussions(repo))
assert [d.num for d in every] == [4, 3, 2, 1]
for options, numbers in (
    ({"discussion_type": "discussion"}, [2, 1]),
    ({"discussion_type": "pull_request"}, [4, 3]),
    ({"discussion_status": "open"}, [2, 1]),
    ({"discussion_status": "closed"}, [4, 3]),
    ({"author": OTHER}, [4, 3, 1]),
    ({"author": OTHER, "discussion_type": "discussion"}, [1]),
):
    found = [d.num for d in api.get_repo_discussions(repo, **options)]
    assert found == numbers, (options, found)
for index in range(12):
    api.create_discussion(repo, title=f"Number {index:02}")
assert len(list(api.get_repo_discussions(repo))) == 16

# In a private repository nobody else takes part.
secret = api.create_repo(f"{ME}/secret-talk", private=True).repo_id
number = api.create_discussion(secret, title="Whisper").num
refused(404, other.get_discussion_details, secret, number)
refused(404, other.comment_discussion, secret, number, comment="Hello")
refused(404, other.get_repo_discussions, secret)
done()
