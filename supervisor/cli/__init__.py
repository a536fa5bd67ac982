"""The command line: node-cache's flags and the subcommands of shardns."""
