"""The boundary: whatever comes from a file, a server, a model or the environment is read here, within limits.

`reading`: files and JSON; `records`: JSON checked against the types of a dataclass; `values`: text that a user types;
`address`, `http`: the one client of servers; `credentials`: keys and passwords; `text`: foreign text in one line.
"""
