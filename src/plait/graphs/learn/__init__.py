# SPDX-License-Identifier: Apache-2.0
"""Learning from a graph: embeddings of entities and predicates, and how well they are ranked."""
