"""Notifications to the host.

* `attention`: send the signal `attention` for new reasons
"""
