# SPDX-License-Identifier: Apache-2.0
"""Git, the store of record: reading, committing, pushing, packing."""
