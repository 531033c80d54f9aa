# SPDX-License-Identifier: Apache-2.0
"""What people write for Plait: fusion recipes, and a repository's plait.yaml."""
