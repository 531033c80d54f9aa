# SPDX-License-Identifier: Apache-2.0
"""Where hub and engines meet: jobs, and the merging of pull requests."""
