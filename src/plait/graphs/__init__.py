# SPDX-License-Identifier: Apache-2.0
"""Knowledge graphs: folders and tables in, folders and tables out."""
