# SPDX-License-Identifier: Apache-2.0
"""Architectures of Plait's own, as transformers models: what fusions above the weights save.

Each module stands alone (torch and transformers, nothing of Plait): it is also written beside a
saved model, so that whoever has transformers and trusts the code can load it without Plait.
"""
