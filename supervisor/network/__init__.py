"""The node's side of serving DNS: the interface with the local addresses, and the rules that keep DNS out of conntrack.

    desired.py    what should be there; pure
    link.py       the interface and its addresses
    iptables.py   the rules, as node-cache writes them
    nftables.py   the rules, in a table of our own
    choice.py     which of the two this node uses
    reconcile.py  what a short-lived child does: desired against actual
    jobs.py       that child
    notices.py    hears from the kernel that something is gone
    presence.py   whether another shardns serves on the same interface
    node.py       what the supervisor holds: when to look, and what to say about it

Only node.py lives in the supervisor for long; it imports neither pyroute2 nor anything else that is heavy.
"""
