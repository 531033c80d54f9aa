# SPDX-License-Identifier: Apache-2.0
"""What a graph knows put into text models: by its sentences, its vectors, or its rules."""
