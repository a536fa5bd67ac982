"""`shardns doctor`: whether this node's DNS is as it should be, and what to do where it is not. It changes nothing.

known.py      what should be: from the shardns that runs, else from the flags given
facts.py      what was seen, as plain data
look_*.py     see it: netlink, programs, /proc, queries
check_*.py    judge it; pure: Known and facts in, findings out
findings.py   a judgement, and how it is shown
examine.py    which parts there are, in which order, and how they run side by side in bounded time
asking.py     queries and HTTP requests, many at once
procfs.py     sockets and processes as /proc shows them
"""
