"""Stand-ins for services on the network: real HTTP servers on 127.0.0.1.

Each module is one service, faithful to what the real one does.
"""
