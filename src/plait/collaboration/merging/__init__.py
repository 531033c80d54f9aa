# SPDX-License-Identifier: Apache-2.0
"""What a pull request's merge does: each kind of file has its driver, and the gate decides."""
