"""Checkpoints of the audit log: the signed position and hash of an account's hash chain, and their verification.

* `signing`: sign a checkpoint, and read one
* `verification`: verify the chains, also against checkpoints that were kept elsewhere
"""
