# SPDX-License-Identifier: Apache-2.0
"""Reading facts out of text: a graph's statements become sentences, a tagger learns from them to
mark subject, predicate and object, and what it marks in other texts becomes statements again.
"""
