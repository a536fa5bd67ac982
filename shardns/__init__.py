"""shardns: a node-local DNS cache for Kubernetes. This package is the data plane; it never imports supervisor."""

__version__ = "0.1.0"
