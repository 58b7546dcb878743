"""What tests share: homes, payments, oracles, servers."""
