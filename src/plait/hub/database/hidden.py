# SPDX-License-Identifier: Apache-2.0
"""Tables of hidden test sets: their files, and who has had models judged with them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from plait.hub.database.base import Base, now


class HiddenFile(Base):
    """A file of a hidden split: in no commit and in no blob store, where no route reads."""

    __tablename__ = "hidden_files"
    __table_args__ = (UniqueConstraint("repository_id", "path"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    split: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(160))
    """Where jobs find it in the data set's folder: ``data/test.jsonl``."""
    size: Mapped[int] = mapped_column(Integer)
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("accounts.id", ondelete="SET NULL"), default=None
    )
    created_at: Mapped[datetime] = mapped_column(default=now)


class HiddenQuestion(Base):
    """A job that judged models on a hidden split, for a user and an organisation."""

    __tablename__ = "hidden_questions"
    __table_args__ = (
        UniqueConstraint("dataset_id", "split", "job_id", "task"),
        Index("ix_hidden_questions_asked", "dataset_id", "split", "created_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("repositories.id", ondelete="CASCADE"))
    split: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[int | None] = mapped_column(Integer, default=None)
    """Counted once however often the job is taken up again."""
    task: Mapped[str] = mapped_column(String(96), default="")
    user_id: Mapped[int | None] = mapped_column(Integer, default=None)
    """Who asked; kept when the account or the repository is gone, so that making new ones does not
    give new questions to those who remain."""
    namespace_id: Mapped[int] = mapped_column(Integer)
    """Whose model was judged."""
    repository_id: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(default=now)
