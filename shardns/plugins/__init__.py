"""One module per plugin: what its lines in the Corefile mean. No module here imports another but api and order."""
