"""Tasks in a Ray cluster."""

from __future__ import annotations

from .cluster import Cluster


class Ray(Cluster):
    """Submits chunks as remote functions."""
