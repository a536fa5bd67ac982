"""The long run: mixed load, while processes are killed, the Corefile changes and the nameserver goes away.

    make soak                                     ten minutes; SOAK_SECONDS and SOAK_SEED in the environment
    python -m perf.endurance --seconds N --seed N

Everything that happens is on a schedule that the seed decides, and that is printed first. It fails when a query was
lost or answered wrongly, when a process ended that nobody killed, and when memory, descriptors, the table or the
connections to the nameserver leave their bounds.
"""
