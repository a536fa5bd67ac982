"""Real programs and networks for tests: nameservers, dig, ports, namespaces. Nothing here knows shardns's insides."""
