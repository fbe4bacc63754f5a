"""One test for each fault a server, a proxy or the network can commit, in each lane."""
