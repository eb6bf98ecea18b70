"""Checkpoints of the audit log: signed statements of how an account's hash chain goes on, and what is verified by them.

* `signing`: sign a checkpoint, and read one
* `verification`: verify the chains, also against checkpoints that were kept elsewhere
"""
