# SPDX-License-Identifier: Apache-2.0
"""Who there is: accounts, teams, tokens, passwords, limits, profiles."""
